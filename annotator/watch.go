package annotator

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"grayscale.dev/grayscale/observe"
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// follow has the Services that each change may matter to enqueued: those that the object led to before the change and
// those that it leads to after it. Changes of which nothing is read are dropped first.
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

// followCore has the queue follow Kubernetes' own objects.
func (c *Caches) followCore(q queue) {
	follow(c.deployments, q, observe.SameDeployment, func(d *appsv1.Deployment) []types.NamespacedName {
		return observe.AffectedByDeployment(c, d)
	})
	follow(c.services, q, observe.SameService, func(s *corev1.Service) []types.NamespacedName {
		return observe.AffectedByService(c, s)
	})
	follow(c.pods, q, observe.SamePod, func(p *corev1.Pod) []types.NamespacedName { return observe.AffectedByPod(c, p) })
}

func sameVersion[T metav1.Object](before, after T) bool {
	return before.GetResourceVersion() == after.GetResourceVersion()
}
