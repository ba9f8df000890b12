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
// that select its pods, for each of them sends these requests. A Deployment without any has the empty name alone: it
// still gets told what is wrong.
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

// Siblings are the other Services that decide about the participants behind this one. Each is decided with the facts
// about all of them.
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

// Active reports whether there is something to decide about a Service: it has derived objects, or a participant behind
// it.
func Active(r Reader, key types.NamespacedName) bool {
	if HasRoutes(r, key) || len(r.ListDeployments(DeploymentsByService, key.String())) > 0 {
		return true
	}
	s := r.GetService(key.Namespace, key.Name)
	return s != nil && len(selected(r, ParticipantsByLabel, key.Namespace, s.Spec.Selector)) > 0
}

// HasRoutes reports whether one of the Service's derived objects is there.
func HasRoutes(r Reader, service types.NamespacedName) bool {
	is := r.Istio()
	return is != nil && is.Has(service.Namespace, mesh.Name(service.Name))
}

// behind are the Deployments that name the Service and those whose pods it selects, sorted by name. Behind the Service
// without a name are the participants that lead to no Service.
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

// others are the other Services that select the Deployments' pods or that these name, sorted by name.
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
// those that select its pods, whatever version label admission gives these.
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

// selectsSomeVersion reports whether the selector matches the labels once these have some version label.
func selectsSomeVersion(selector, labels map[string]string) bool {
	for k, v := range selector {
		if got, ok := labels[k]; k != release.VersionLabel && (!ok || got != v) {
			return false
		}
	}
	return len(selector) > 0
}

// selected are the Deployments of an index by labels whose pods a Service selects. One without a selector has none.
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
func podsOf(r Reader, d *appsv1.Deployment) []podGroup {
	pods := grouped(r.ListPods(PodsByOwner, d.Namespace+"/"+cutName(d.Name)))
	return slices.DeleteFunc(pods, func(g podGroup) bool { return !owns(d, g) })
}

// strays are the pods that the Service selects and that none of the Deployments has.
func strays(r Reader, s release.Service, deployments []*appsv1.Deployment) []podGroup {
	if len(s.Selector) == 0 {
		return nil
	}
	pods := grouped(r.ListPods(PodsByLabel, selectorKey(s.Namespace, s.Selector)))
	return slices.DeleteFunc(pods, func(g podGroup) bool {
		owned := slices.ContainsFunc(deployments, func(d *appsv1.Deployment) bool { return owns(d, g) })
		return owned || !matches(s.Selector, g.labels)
	})
}

func owns(d *appsv1.Deployment, g podGroup) bool {
	return g.deployment == cutName(d.Name) && (d.Spec.Selector == nil || matches(d.Spec.Selector.MatchLabels, g.labels))
}

// workloads are the owners of pods that no Deployment has or had, sorted.
func workloads(groups []podGroup) []routing.Workload {
	var out []routing.Workload
	for _, g := range groups {
		if g.ended || g.deleting || g.deployment != "" {
			continue
		}
		version := g.labels[release.VersionLabel]
		if g.ownerKind != "" {
			out = append(out, routing.Workload{Kind: g.ownerKind, Name: g.ownerName, Version: version})
			continue
		}
		for _, p := range g.pods {
			out = append(out, routing.Workload{Kind: "Pod", Name: p.Name, Version: version})
		}
	}
	slices.SortFunc(out, func(a, b routing.Workload) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name), strings.Compare(a.Version, b.Version))
	})
	return slices.Compact(out)
}
