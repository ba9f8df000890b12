package annotator

import (
	"context"
	"reflect"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"grayscale.dev/grayscale/routing/cluster"
	"grayscale.dev/grayscale/routing/istio"
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// watches are a watch of each cache.
func watches[T client.Object](caches Caches, obj T, same func(before, after T) bool, services func(T) []types.NamespacedName) []source.SyncingSource {
	var out []source.SyncingSource
	for _, c := range caches {
		out = append(out, watch(c, obj, same, services))
	}
	return out
}

// watch is a source of the Services that an object's events may matter to: those that the object led to before the
// event and those that it leads to after it. Updates of which nothing is read are dropped first.
func watch[T client.Object](c cache.Cache, obj T, same func(before, after T) bool, services func(T) []types.NamespacedName) source.SyncingSource {
	return source.Kind(c, obj, handler.TypedFuncs[T, reconcile.Request]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[T], q queue) { enqueue(q, services(e.Object)) },
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[T], q queue) { enqueue(q, services(e.Object)) },
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[T], q queue) {
			if same(e.ObjectOld, e.ObjectNew) {
				return
			}
			enqueue(q, services(e.ObjectOld))
			enqueue(q, services(e.ObjectNew))
		},
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
func (s *store) ofDeployment(d *appsv1.Deployment) []types.NamespacedName {
	out := s.ofLabels(d.Namespace, d.Spec.Template.Labels)
	if concerns(d) {
		for _, home := range s.homes(d) {
			out = append(out, types.NamespacedName{Namespace: d.Namespace, Name: home})
		}
	}
	return out
}

func (s *store) ofPod(p *corev1.Pod) []types.NamespacedName { return s.ofLabels(p.Namespace, p.Labels) }

// ofLabels are the Services with a release that select such pods. All others cost these few look-ups and nothing more.
func (s *store) ofLabels(namespace string, labels map[string]string) []types.NamespacedName {
	var out []types.NamespacedName
	for _, svc := range s.selecting(namespace, labels) {
		if key := client.ObjectKeyFromObject(svc); s.active(key) {
			out = append(out, key)
		}
	}
	return out
}

// ofService: a Service that comes, goes or selects other pods changes where Deployments lead, away from other Services
// as well, and whether they lead anywhere.
func (s *store) ofService(svc *corev1.Service) []types.NamespacedName {
	key := client.ObjectKeyFromObject(svc)
	var out []types.NamespacedName
	if s.active(key) {
		out = append(out, key)
	}
	deployments := append(list[*appsv1.Deployment](s.deployments, byNaming, key.String()),
		s.matching(byOurLabel, svc.Namespace, svc.Spec.Selector)...)
	for _, d := range deployments {
		out = append(out, s.ofDeployment(d)...)
	}
	if len(deployments) > 0 {
		out = append(out, key, types.NamespacedName{Namespace: svc.Namespace})
	}
	return out
}

// ofRoute: a derived object concerns its Service, another one the releases of the Services that it names.
func (s *store) ofRoute(o client.Object) []types.NamespacedName {
	if service, derived := derivedFrom(o.GetName()); derived {
		return []types.NamespacedName{{Namespace: o.GetNamespace(), Name: service}}
	}
	var out []types.NamespacedName
	for _, host := range istio.HostKeys(o, s.domain) {
		if strings.HasPrefix(host, "*") {
			return s.all()
		}
		if key, ok := s.serviceOfHost(host); ok && s.active(key) {
			out = append(out, key)
		}
	}
	return out
}

func (s *store) serviceOfHost(host string) (types.NamespacedName, bool) {
	local, ok := strings.CutSuffix(host, ".svc."+s.domain)
	name, namespace, both := strings.Cut(local, ".")
	return types.NamespacedName{Namespace: namespace, Name: name}, ok && both && !strings.Contains(namespace, ".")
}

// all are the Services of every Deployment that concerns us, and of every derived object.
func (s *store) all() []types.NamespacedName {
	var out []types.NamespacedName
	for _, d := range list[*appsv1.Deployment](s.deployments, byConcern, everywhere) {
		out = append(out, s.ofDeployment(d)...)
	}
	r := s.routes.Load()
	if r == nil {
		return out
	}
	for _, o := range append(r.virtualServices.all(), r.destinationRules.all()...) {
		if derived, ok := o.(client.Object); ok {
			if service, ok := derivedFrom(derived.GetName()); ok {
				out = append(out, types.NamespacedName{Namespace: derived.GetNamespace(), Name: service})
			}
		}
	}
	return out
}
