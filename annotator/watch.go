package annotator

import (
	"reflect"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"grayscale.dev/grayscale/routing/cluster"
	"grayscale.dev/grayscale/routing/istio"
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// follow has the Services that each change may matter to enqueued: those that the object led to before the change and those
// that it leads to after it. Changes of which nothing is read are dropped first.
func follow[T kept](s *shelf[T], q queue, same func(before, after T) bool, services func(T) []types.NamespacedName) {
	var none T
	s.follow(func(before, after T) {
		if before != none && after != none && same(before, after) {
			return
		}
		for _, o := range []T{before, after} {
			if o != none {
				enqueue(q, services(o))
			}
		}
	})
}

func enqueue(q queue, services []types.NamespacedName) {
	for _, s := range services {
		q.Add(reconcile.Request{NamespacedName: s})
	}
}

func sameDeployment(before, after *appsv1.Deployment) bool {
	return reflect.DeepEqual(cluster.Deployment(before), cluster.Deployment(after))
}

func sameService(before, after *corev1.Service) bool {
	return before.UID == after.UID && reflect.DeepEqual(cluster.Service(before), cluster.Service(after))
}

func samePod(before, after *corev1.Pod) bool {
	gone := func(p *corev1.Pod) bool {
		return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	}
	return before.UID == after.UID && ready(before) == ready(after) && gone(before) == gone(after) &&
		reflect.DeepEqual(before.Labels, after.Labels)
}

func sameVersion[T metav1.Object](before, after T) bool {
	return before.GetResourceVersion() == after.GetResourceVersion()
}

// ofDeployment: where a Deployment that concerns us is decided, and every release that it is behind besides.
func (s *Caches) ofDeployment(d *appsv1.Deployment) []types.NamespacedName {
	out := s.ofLabels(d.Namespace, d.Spec.Template.Labels)
	if concerns(d) {
		for _, home := range s.homes(d) {
			out = append(out, types.NamespacedName{Namespace: d.Namespace, Name: home})
		}
	}
	return out
}

func (s *Caches) ofPod(p *corev1.Pod) []types.NamespacedName {
	return s.ofLabels(p.Namespace, p.Labels)
}

// ofLabels are the Services with a release that select such pods, and their siblings. All others cost these few look-ups and nothing
// more.
func (s *Caches) ofLabels(namespace string, labels map[string]string) []types.NamespacedName {
	var out []types.NamespacedName
	for _, svc := range s.selecting(namespace, labels) {
		if key := client.ObjectKeyFromObject(svc); s.active(key) {
			out = append(append(out, key), s.siblings(key)...)
		}
	}
	return out
}

// ofService: a Service that comes, goes or selects other pods changes where Deployments lead, away from other Services
// as well, and whether they lead anywhere.
func (s *Caches) ofService(svc *corev1.Service) []types.NamespacedName {
	key := client.ObjectKeyFromObject(svc)
	var out []types.NamespacedName
	if s.active(key) {
		out = append(out, key)
	}
	deployments := append(s.deployments.under(byNaming, key.String()),
		s.matching(byOurLabel, svc.Namespace, svc.Spec.Selector)...)
	for _, d := range deployments {
		out = append(out, s.ofDeployment(d)...)
	}
	if len(deployments) > 0 {
		out = append(out, key, types.NamespacedName{Namespace: svc.Namespace})
	}
	return out
}

// ofRoute: a derived object concerns its Service, another one the releases of the Services that it names; either of them their
// siblings as well, whose holds and conditions rest on it.
func (s *Caches) ofRoute(o client.Object) []types.NamespacedName {
	var out []types.NamespacedName
	if service, derived := derivedFrom(o.GetName()); derived { // by its name alone: it may be somebody else's, for any host
		key := types.NamespacedName{Namespace: o.GetNamespace(), Name: service}
		out = append(append(out, key), s.siblings(key)...)
	}
	for _, host := range istio.HostKeys(o, s.domain) {
		if strings.HasPrefix(host, "*") {
			return append(out, s.all()...)
		}
		if key, ok := s.serviceOfHost(host); ok && s.active(key) && !slices.Contains(out, key) {
			out = append(append(out, key), s.siblings(key)...)
		}
	}
	return out
}

func (s *Caches) serviceOfHost(host string) (types.NamespacedName, bool) {
	local, ok := strings.CutSuffix(host, ".svc."+s.domain)
	name, namespace, both := strings.Cut(local, ".")
	return types.NamespacedName{Namespace: namespace, Name: name}, ok && both && !strings.Contains(namespace, ".")
}

// all are the Services of every Deployment that concerns us, and of every derived object.
func (s *Caches) all() []types.NamespacedName {
	var out []types.NamespacedName
	for _, d := range s.deployments.under(byConcern, everywhere) {
		for _, svc := range s.selecting(d.Namespace, d.Spec.Template.Labels) {
			out = append(out, client.ObjectKeyFromObject(svc))
		}
		for _, home := range s.homes(d) {
			out = append(out, types.NamespacedName{Namespace: d.Namespace, Name: home})
		}
	}
	r := s.routes.Load()
	if r == nil {
		return out
	}
	for _, name := range append(r.virtualServices.names(), r.destinationRules.names()...) {
		namespace, name, _ := strings.Cut(name, "/")
		if service, ok := derivedFrom(name); ok {
			out = append(out, types.NamespacedName{Namespace: namespace, Name: service})
		}
	}
	return out
}
