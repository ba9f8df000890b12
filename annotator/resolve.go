package annotator

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/routing/cluster"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// concerns reports whether a Deployment carries anything of ours: an annotation, or a condition left from one.
func concerns(d *appsv1.Deployment) bool {
	if len(cluster.Ours(d.Annotations)) > 0 {
		return true
	}
	for _, c := range d.Status.Conditions {
		if ourCondition(c) {
			return true
		}
	}
	return false
}

func namedService(d *appsv1.Deployment) string { return d.Annotations[intent.KeyService] }

// homes are the Services with which a Deployment that concerns us is decided: the one that a candidate or an explicit
// annotation leads to, else all whose selector matches, for a stable version may serve behind several. The empty name
// stands for nowhere: such a Deployment still gets told what is wrong.
func (s *Caches) homes(d *appsv1.Deployment) []string {
	if named := namedService(d); named != "" {
		return []string{named}
	}
	behind := s.selecting(d.Namespace, d.Spec.Template.Labels)
	if _, candidate := d.Annotations[intent.KeyStrategy]; candidate {
		name, _ := release.ServiceOf(d.Namespace, cluster.Deployment(d), plain(behind))
		return []string{name}
	}
	if len(behind) == 0 {
		return []string{""}
	}
	return names(behind)
}

func (s *Caches) leadsTo(d *appsv1.Deployment, service string) bool {
	for _, home := range s.homes(d) {
		if home == service {
			return true
		}
	}
	return false
}

// active reports whether a Service has something to decide: derived objects, or a Deployment that concerns us.
func (s *Caches) active(key types.NamespacedName) bool {
	if r := s.routes.Load(); r != nil {
		if r.virtualServices.has(derivedKey(key)) || r.destinationRules.has(derivedKey(key)) {
			return true
		}
	}
	if len(s.deployments.under(byNaming, key.String())) > 0 {
		return true
	}
	svc, ok := s.service(key.Namespace, key.Name)
	if !ok {
		return false
	}
	for _, d := range s.matching(byOurLabel, key.Namespace, svc.Spec.Selector) {
		if s.leadsTo(d, key.Name) {
			return true
		}
	}
	return false
}

func plain(services []*corev1.Service) []release.Service {
	out := make([]release.Service, len(services))
	for i, s := range services {
		out[i] = cluster.Service(s)
	}
	return out
}

func names(services []*corev1.Service) []string {
	out := make([]string, len(services))
	for i, s := range services {
		out[i] = s.Name
	}
	return out
}
