package observe

import (
	"reflect"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/routing/cluster"
	"grayscale.dev/grayscale/routing/mesh"
)

// Same* report whether two states of an object are equal in everything that is read of it.

// SameDeployment compares two states of a Deployment.
func SameDeployment(before, after *appsv1.Deployment) bool {
	return reflect.DeepEqual(cluster.Deployment(before), cluster.Deployment(after))
}

// SameService compares two states of a Service.
func SameService(before, after *corev1.Service) bool {
	return before.UID == after.UID && reflect.DeepEqual(cluster.Service(before), cluster.Service(after))
}

// SamePod compares two states of a pod.
func SamePod(before, after *Pod) bool {
	return before.UID == after.UID && before.state == after.state
}

// AffectedBy* are the Services to reconcile after an object was created, changed or deleted. Duplicates are possible.

// AffectedByDeployment are the Services with a release that select the Deployment's pods, and, where the Deployment
// participates, all Services that decide about it.
func AffectedByDeployment(r Reader, d *appsv1.Deployment) []types.NamespacedName {
	out := releasesSelecting(r, d.Namespace, d.Spec.Template.Labels)
	if participates(d) {
		for _, name := range ServicesOf(r, d) {
			out = append(out, types.NamespacedName{Namespace: d.Namespace, Name: name})
		}
	}
	return out
}

// AffectedByPod are the releases that select the pod.
func AffectedByPod(r Reader, p *Pod) []types.NamespacedName {
	state := p.state.Value()
	return releasesSelecting(r, state.namespace, split(state.labels))
}

// releasesSelecting are the Services with a release that select such pods, and their siblings. For all other pods it
// costs only a few index reads.
func releasesSelecting(r Reader, namespace string, labels map[string]string) []types.NamespacedName {
	var out []types.NamespacedName
	for _, s := range selecting(r, namespace, labels) {
		if key := nameOf(s); Active(r, key) {
			out = append(append(out, key), Siblings(r, key)...)
		}
	}
	return out
}

// AffectedByService are the Services whose set of Deployments may have changed. A Service that is created, deleted or
// selects other pods changes which Services its Deployments are behind, and whether they are behind any at all.
func AffectedByService(r Reader, s *corev1.Service) []types.NamespacedName {
	key := nameOf(s)
	var out []types.NamespacedName
	if Active(r, key) {
		out = append(out, key)
	}
	deployments := slices.Concat(r.ListDeployments(DeploymentsByService, key.String()),
		selected(r, ParticipantsByLabel, s.Namespace, s.Spec.Selector))
	for _, d := range deployments {
		out = append(out, AffectedByDeployment(r, d)...)
	}
	if len(deployments) > 0 {
		out = append(out, key, types.NamespacedName{Namespace: s.Namespace})
	}
	return out
}

// AffectedByIstio are the Service of a derived object, or the Services with a release whose hosts any other object
// names. Their siblings are included, because their holds and conditions depend on the object as well.
func AffectedByIstio(r Reader, o metav1.Object) []types.NamespacedName {
	var out []types.NamespacedName
	// Only the name says that it is derived: a user may have created it, for any host. So its hosts count as well.
	if service, derived := Derived(o.GetName()); derived {
		key := types.NamespacedName{Namespace: o.GetNamespace(), Name: service}
		out = append(append(out, key), Siblings(r, key)...)
	}
	for _, host := range HostKeys(o, r.Domain()) {
		if host == Wildcard {
			return append(out, All(r)...)
		}
		if key, ok := serviceOfHost(host, r.Domain()); ok && Active(r, key) && !slices.Contains(out, key) {
			out = append(append(out, key), Siblings(r, key)...)
		}
	}
	return out
}

func serviceOfHost(host, domain string) (types.NamespacedName, bool) {
	local, ok := strings.CutSuffix(host, ".svc."+domain)
	name, namespace, both := strings.Cut(local, ".")
	return types.NamespacedName{Namespace: namespace, Name: name}, ok && both && !strings.Contains(namespace, ".")
}

// All are the Services of every participant, and of every derived object.
func All(r Reader) []types.NamespacedName {
	var out []types.NamespacedName
	for _, d := range r.ListDeployments(Participants, Everywhere) {
		for _, name := range ServicesOf(r, d) {
			out = append(out, types.NamespacedName{Namespace: d.Namespace, Name: name})
		}
	}
	is := r.Istio()
	if is == nil {
		return out
	}
	for _, name := range is.Names() {
		if service, ok := Derived(name.Name); ok {
			out = append(out, types.NamespacedName{Namespace: name.Namespace, Name: service})
		}
	}
	return out
}

// Derived returns the Service that a derived object of this name belongs to. It is false for all other names.
func Derived(name string) (string, bool) {
	service, ok := strings.CutSuffix(name, mesh.Name(""))
	return service, ok && service != ""
}

func nameOf(o metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}
