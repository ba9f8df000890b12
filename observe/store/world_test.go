package store

import (
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/routing"
)

const shop = "shop" // the namespace of these tests

// fatal is a test's or a drawn test's.
type fatal interface {
	Helper()
	Fatal(...any)
}

// world is a filled store of a cluster with Istio, by the very sinks that reflectors write to.
func world(t fatal, objects ...any) *Store {
	t.Helper()
	s := empty("cluster.local")
	s.namespaces = []string{metav1.NamespaceAll}
	s.istio.Store(newIstioObjects(s.domain, func() {}))
	for _, o := range objects {
		if err := sinkFor(s, o).Add(o); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// sinkFor is where a reflector of the object's kind writes.
func sinkFor(s *Store, o any) cache.ReflectorStore {
	switch o.(type) {
	case *appsv1.Deployment:
		return newSink(s.deployments, trimDeployment, nil, "")
	case *corev1.Pod:
		return newSink(s.pods, observe.PodOf, nil, "")
	case *corev1.Service:
		return newSink(s.services, trimService, nil, "")
	case *networkingv1.VirtualService:
		return newSink(s.istio.Load().virtualServices, trimVirtualService, nil, "")
	}
	return newSink(s.istio.Load().destinationRules, trimDestinationRule, nil, "")
}

func meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: shop, Name: name, UID: types.UID(name), ResourceVersion: "1"}
}

func service(name string, selector map[string]string) *corev1.Service {
	ports := []corev1.ServicePort{{Name: "http", Port: 80}}
	return &corev1.Service{ObjectMeta: meta(name), Spec: corev1.ServiceSpec{Selector: selector, Ports: ports}}
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
	p.OwnerReferences = []metav1.OwnerReference{
		{Kind: "ReplicaSet", Name: deployment + "-abc", UID: "set", Controller: &controller}}
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	return p
}

// seenBy is what a process gathers that has just started, at second 1000.
func seenBy(r observe.Reader, name string) routing.Facts {
	at := observe.Moment{Now: time.Unix(1000, 0).UTC(), FirstSeen: observe.NewFirstSeen()}
	return observe.Gather(r, types.NamespacedName{Namespace: shop, Name: name}, at).Facts
}

var (
	canary = map[string]string{"grayscale.dev/strategy": "canary"}
	app    = map[string]string{"app": "web"}
)
