package annotator

import (
	"testing"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/routing"
)

const shop = "shop" // the namespace of these tests

var webService = types.NamespacedName{Namespace: shop, Name: "web"}

func at(seconds int64) time.Time { return time.Unix(seconds, 0) }

// world is caches filled by hand, through the very feeds that the watches fill.
func world(t *testing.T, objects ...any) *Caches {
	t.Helper()
	c := emptyCaches("cluster.local")
	r := &routes{newShelf(virtualServiceKind(c.domain)), newShelf(destinationRuleKind(c.domain)), func() {}}
	c.routes.Store(r)
	for _, o := range objects {
		var into interface{ Add(any) error }
		switch o.(type) {
		case *appsv1.Deployment:
			into = &feed[*appsv1.Deployment]{shelf: c.deployments}
		case *corev1.Pod:
			into = &feed[*corev1.Pod]{shelf: c.pods}
		case *corev1.Service:
			into = &feed[*corev1.Service]{shelf: c.services}
		case *networkingv1.VirtualService:
			into = &feed[*networkingv1.VirtualService]{shelf: r.virtualServices}
		case *networkingv1.DestinationRule:
			into = &feed[*networkingv1.DestinationRule]{shelf: r.destinationRules}
		}
		if err := into.Add(o); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: shop, Name: name, UID: types.UID(name), ResourceVersion: "1"}
}

func service(name string, selector map[string]string) *corev1.Service {
	return &corev1.Service{ObjectMeta: meta(name), Spec: corev1.ServiceSpec{Selector: selector, Ports: []corev1.ServicePort{{Name: "http", Port: 80}}}}
}

// deployment has the labels app=web and release=<name>.
func deployment(name string, annotations map[string]string) *appsv1.Deployment {
	labels := map[string]string{"app": "web", "release": name}
	d := &appsv1.Deployment{ObjectMeta: meta(name)}
	d.Annotations = annotations
	d.Spec.Selector = &metav1.LabelSelector{MatchLabels: labels}
	d.Spec.Template.Labels = labels
	return d
}

// pod is a ready one of a Deployment, with more labels.
func pod(name, deployment string, more map[string]string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: meta(name)}
	p.Labels = map[string]string{"app": "web", "release": deployment, "pod-template-hash": "abc"}
	for k, v := range more {
		p.Labels[k] = v
	}
	controller := true
	p.OwnerReferences = []metav1.OwnerReference{{Kind: "ReplicaSet", Name: deployment + "-abc", UID: "set", Controller: &controller}}
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	return p
}

// seenBy is what a controller gathers that has just started, at second 1000.
func seenBy(t *testing.T, s *Caches, name string) routing.Facts {
	t.Helper()
	c := New(Parts{Reader: s, Clock: Clock{Now: func() time.Time { return time.Unix(1000, 0) }}})
	return c.observe(types.NamespacedName{Namespace: shop, Name: name}).Facts
}

var (
	canary = map[string]string{"grayscale.dev/strategy": "canary"}
	app    = map[string]string{"app": "web"}
)
