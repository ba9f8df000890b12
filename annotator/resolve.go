package annotator

import (
	"slices"

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

// homes are the Services with which a Deployment that concerns us is decided: those that it names, and all whose selector matches,
// for each of them sends its pods requests. The empty name stands for nowhere: such a Deployment still gets told what is wrong.
func (s *Caches) homes(d *appsv1.Deployment) []string {
	out := append(intent.Services(d.Annotations), names(s.selecting(d.Namespace, d.Spec.Template.Labels))...)
	if len(out) == 0 {
		return []string{""}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// siblings are the Services that are decided with what is seen of this one: those that Deployments behind it are behind as well.
func (s *Caches) siblings(key types.NamespacedName) []types.NamespacedName {
	deployments := s.deployments.under(byNaming, key.String())
	if svc, ok := s.service(key.Namespace, key.Name); ok {
		deployments = append(deployments, s.matching(byOurLabel, key.Namespace, svc.Spec.Selector)...)
	}
	var out []types.NamespacedName
	for _, d := range deployments {
		for _, home := range s.homes(d) {
			if sibling := (types.NamespacedName{Namespace: key.Namespace, Name: home}); sibling != key && !slices.Contains(out, sibling) {
				out = append(out, sibling)
			}
		}
	}
	return out
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
	return ok && len(s.matching(byOurLabel, key.Namespace, svc.Spec.Selector)) > 0
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
