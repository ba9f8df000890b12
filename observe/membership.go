package observe

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/cluster"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

// ServicesOf are the names of the Services that decide about a Deployment: those that its annotation names, and all
// that select its pods, because each of those sends them requests. Where there are none, the only name is the empty
// one, so that the Deployment still gets conditions that say what is wrong.
func ServicesOf(r Reader, d *appsv1.Deployment) []string {
	var out []string
	for _, key := range DeploymentsByService.Keys(d) {
		_, name, _ := strings.Cut(key, "/")
		out = append(out, name)
	}
	for _, s := range selecting(r, d.Namespace, d.Spec.Template.Labels) {
		out = append(out, s.Name)
	}
	if len(out) == 0 {
		return []string{""}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Siblings are the other Services that decide about the participants behind this one. The decision about each of them
// needs the facts about all.
func Siblings(r Reader, key types.NamespacedName) []types.NamespacedName {
	deployments := r.ListDeployments(DeploymentsByService, key.String())
	if s := r.GetService(key.Namespace, key.Name); s != nil {
		deployments = slices.Concat(deployments, selected(r, ParticipantsByLabel, key.Namespace, s.Spec.Selector))
	}
	var out []types.NamespacedName
	for _, d := range deployments {
		for _, name := range ServicesOf(r, d) {
			sibling := types.NamespacedName{Namespace: key.Namespace, Name: name}
			if sibling != key && !slices.Contains(out, sibling) {
				out = append(out, sibling)
			}
		}
	}
	return out
}

// Active reports whether there is something to decide about a Service: it has derived objects, or there is a
// participant behind it.
func Active(r Reader, key types.NamespacedName) bool {
	if HasRoutes(r, key) || len(r.ListDeployments(DeploymentsByService, key.String())) > 0 {
		return true
	}
	s := r.GetService(key.Namespace, key.Name)
	return s != nil && len(selected(r, ParticipantsByLabel, key.Namespace, s.Spec.Selector)) > 0
}

// HasRoutes reports whether any of the Service's derived objects exists.
func HasRoutes(r Reader, service types.NamespacedName) bool {
	is := r.Istio()
	return is != nil && is.Has(service.Namespace, mesh.Name(service.Name))
}

// behind are the Deployments that name the Service and those whose pods it selects, sorted by name. The key without a
// name has the participants that are behind no Service.
func behind(r Reader, key types.NamespacedName, s release.Service) []*appsv1.Deployment {
	found := map[string]*appsv1.Deployment{}
	for _, d := range selected(r, DeploymentsByLabel, key.Namespace, s.Selector) {
		found[d.Name] = d
	}
	for _, d := range r.ListDeployments(DeploymentsByService, key.String()) {
		found[d.Name] = d
	}
	if key.Name == "" {
		for _, d := range r.ListDeployments(Participants, key.Namespace+"/") {
			if ServicesOf(r, d)[0] == "" {
				found[d.Name] = d
			}
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b *appsv1.Deployment) int {
		return strings.Compare(a.Name, b.Name)
	})
}

// others are the other Services that select the Deployments' pods or that the Deployments name, sorted by name.
func others(r Reader, key types.NamespacedName, deployments []*appsv1.Deployment) []release.Service {
	found := map[string]release.Service{}
	for _, d := range deployments {
		for _, name := range ServicesOf(r, d) {
			if _, known := found[name]; known || name == key.Name {
				continue
			}
			if s := r.GetService(key.Namespace, name); s != nil {
				found[name] = cluster.Service(s)
			}
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b release.Service) int { return strings.Compare(a.Name, b.Name) })
}

// selecting are the Services that select pods with such labels.
func selecting(r Reader, namespace string, labels map[string]string) []*corev1.Service {
	var out []*corev1.Service
	for _, key := range labelKeys(namespace, labels) {
		for _, s := range r.ListServices(ServicesBySelector, key) {
			if matches(s.Spec.Selector, labels) {
				out = append(out, s)
			}
		}
	}
	return out
}

// ServicesFor are the Services that matter to a Deployment before it is stored: those that its annotation names, and
// those that select its pods with some version label, which admission may still set.
func ServicesFor(r Reader, namespace string, d release.Deployment) []release.Service {
	found := map[string]*corev1.Service{}
	for _, name := range intent.Services(d.Annotations) {
		if s := r.GetService(namespace, name); s != nil {
			found[name] = s
		}
	}
	labels := maps.Clone(d.TemplateLabels)
	delete(labels, release.VersionLabel)
	for _, key := range append(labelKeys(namespace, labels), anyVersion(namespace)) {
		for _, s := range r.ListServices(ServicesBySelector, key) {
			if selectsSomeVersion(s.Spec.Selector, labels) {
				found[s.Name] = s
			}
		}
	}
	var out []release.Service
	for _, name := range slices.Sorted(maps.Keys(found)) {
		out = append(out, cluster.Service(found[name]))
	}
	return out
}

// selectsSomeVersion reports whether the selector matches the labels with some version label added.
func selectsSomeVersion(selector, labels map[string]string) bool {
	for k, v := range selector {
		if got, ok := labels[k]; k != release.VersionLabel && (!ok || got != v) {
			return false
		}
	}
	return len(selector) > 0
}

// selected are the Deployments whose pods a selector matches, found by an index by labels. An empty selector matches
// none.
func selected(r Reader, by DeploymentIndex, namespace string, selector map[string]string) []*appsv1.Deployment {
	if len(selector) == 0 {
		return nil
	}
	var out []*appsv1.Deployment
	for _, d := range r.ListDeployments(by, selectorKey(namespace, selector)) {
		if matches(selector, d.Spec.Template.Labels) {
			out = append(out, d)
		}
	}
	return out
}

// podsOf are the pods of a Deployment.
func podsOf(r Reader, d *appsv1.Deployment) []*Pod {
	var out []*Pod
	by := ownerOf(d)
	for _, p := range r.ListPods(PodsByOwner, d.Namespace+"/"+by.name) {
		if by.owns(p) {
			out = append(out, p)
		}
	}
	return out
}

// strays are the pods that the Service selects and that belong to none of the Deployments.
func strays(r Reader, s release.Service, deployments []*appsv1.Deployment) []*Pod {
	if len(s.Selector) == 0 {
		return nil
	}
	var out []*Pod
	var owners []owner
	for _, d := range deployments {
		owners = append(owners, ownerOf(d))
	}
	selector := labelList(s.Selector)
	for _, p := range r.ListPods(PodsByLabel, selectorKey(s.Namespace, s.Selector)) {
		owned := slices.ContainsFunc(owners, func(o owner) bool { return o.owns(p) })
		if !owned && selector.match(p.Labels) {
			out = append(out, p)
		}
	}
	return out
}

// owner identifies the pods of a Deployment.
type owner struct {
	name     string
	any      bool // the Deployment has no selector
	selector Labels
}

func ownerOf(d *appsv1.Deployment) owner {
	if d.Spec.Selector == nil {
		return owner{name: cutName(d.Name), any: true}
	}
	return owner{name: cutName(d.Name), selector: labelList(d.Spec.Selector.MatchLabels)}
}

func (o owner) owns(p *Pod) bool {
	return p.Deployment == o.name && (o.any || o.selector.match(p.Labels))
}

// workloads are the owners of pods that belong to no Deployment and never did, sorted. Pods without an owner stand for
// themselves.
func workloads(pods []*Pod) []routing.Workload {
	var out []routing.Workload
	for _, p := range pods {
		if p.Ended || p.Deleting || p.Deployment != "" {
			continue
		}
		w := routing.Workload{Kind: "Pod", Name: p.Name, Version: p.Labels.get(release.VersionLabel)}
		if p.OwnerKind != "" {
			w.Kind, w.Name = p.OwnerKind, p.OwnerName
		}
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b routing.Workload) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name), strings.Compare(a.Version, b.Version))
	})
	return slices.Compact(out)
}
