package observe

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

// world is a cluster with Istio and these objects.
func world(t *testing.T, objects ...any) *Snapshot {
	t.Helper()
	s := &Snapshot{ClusterDomain: "cluster.local", IstioServed: true}
	for _, o := range objects {
		switch o := o.(type) {
		case *appsv1.Deployment:
			s.Deployments = append(s.Deployments, o)
		case *corev1.Pod:
			s.Pods = append(s.Pods, PodOf(o))
		case *corev1.Service:
			s.Services = append(s.Services, o)
		case *networkingv1.VirtualService:
			s.VirtualServices = append(s.VirtualServices, o)
		default:
			t.Fatalf("a %T", o)
		}
	}
	return s
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

// pod is a ready pod of a Deployment, with additional labels.
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

// seenBy is what a process gathers that started just now, at second 1000.
func seenBy(t *testing.T, s *Snapshot, name string) routing.Facts {
	t.Helper()
	at := Moment{Now: time.Unix(1000, 0).UTC(), FirstSeen: NewFirstSeen()}
	return Gather(s, types.NamespacedName{Namespace: shop, Name: name}, at).Facts
}

var (
	canary = map[string]string{"grayscale.dev/strategy": "canary"}
	app    = map[string]string{"app": "web"}
)
