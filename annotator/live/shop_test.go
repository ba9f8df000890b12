package live

import (
	"context"
	"testing"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/test/harness"
)

// shop is a namespace with Service web and the running Deployment web behind it, unlabelled as Deployments are.
type shop struct {
	*testing.T
	namespace string
}

func open(t *testing.T) shop {
	t.Helper()
	s := shop{t, harness.Namespace(t)}
	s.service()
	s.deploy(harness.App{Name: "web", Replicas: 2}.Deployment())
	harness.WaitReady(t, s.namespace, "web")
	return s
}

func (s shop) service() {
	s.Helper()
	_, err := harness.Kube().CoreV1().Services(s.namespace).Create(context.Background(), harness.Service("web"), metav1.CreateOptions{})
	s.must(err)
}

func (s shop) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s shop) deploy(d *appsv1.Deployment) {
	s.Helper()
	_, err := harness.Kube().AppsV1().Deployments(s.namespace).Create(context.Background(), d, metav1.CreateOptions{FieldManager: "kubectl"})
	s.must(err)
}

// candidate is web-v2 as the webhook leaves it: labelled and held.
func (s shop) candidate(annotations map[string]string) {
	s.Helper()
	d := harness.App{Name: "web-v2", Label: "web", Annotations: annotations, PodLabels: map[string]string{"version": "v2"}}.Deployment()
	d.Spec.Paused = true
	d.Annotations["grayscale.dev/held"] = "true"
	s.deploy(d)
}

// canary is a candidate with a tenth of the requests.
func (s shop) canary() {
	s.Helper()
	s.candidate(map[string]string{"grayscale.dev/strategy": "canary", "grayscale.dev/weight": "10"})
}

// patch merge-patches a Deployment as a user would.
func (s shop) patch(name, change string) {
	s.Helper()
	_, err := harness.Kube().AppsV1().Deployments(s.namespace).Patch(context.Background(), name, types.MergePatchType, []byte(change),
		metav1.PatchOptions{FieldManager: "kubectl-annotate"})
	s.must(err)
}

func (s shop) deployment(name string) *appsv1.Deployment {
	s.Helper()
	d, err := harness.Kube().AppsV1().Deployments(s.namespace).Get(context.Background(), name, metav1.GetOptions{})
	s.must(err)
	return d
}

// sets are the ReplicaSets of one Deployment.
func (s shop) sets(deployment string) []appsv1.ReplicaSet {
	s.Helper()
	list, err := harness.Kube().AppsV1().ReplicaSets(s.namespace).List(context.Background(), metav1.ListOptions{LabelSelector: "release=" + deployment})
	s.must(err)
	return list.Items
}

// routes is the derived VirtualService; nil where there is none.
func (s shop) routes() *networkingv1.VirtualService {
	s.Helper()
	vs, err := harness.Istio().NetworkingV1().VirtualServices(s.namespace).Get(context.Background(), "web-grayscale", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	s.must(err)
	return vs
}

// weights are those of the derived VirtualService by subset; a lone destination has none.
func weights(vs *networkingv1.VirtualService) map[string]int32 {
	out := map[string]int32{}
	if vs != nil && len(vs.Spec.Http) > 0 {
		for _, to := range vs.Spec.Http[0].Route {
			out[to.Destination.Subset] = to.Weight
		}
	}
	return out
}
