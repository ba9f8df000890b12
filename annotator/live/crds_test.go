package live

import (
	"context"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"grayscale.dev/grayscale/test/harness"
)

var crds = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// Istio's definitions may be absent at the start, come later, go and come again: no restart is needed.
// The test is not parallel: the definitions are everybody's.
func TestIstioComesGoesAndComesBack(t *testing.T) {
	client, err := dynamic.NewForConfig(harness.Config())
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"virtualservices.networking.istio.io", "destinationrules.networking.istio.io"}
	saved := map[string]*unstructured.Unstructured{}
	for _, name := range names {
		if saved[name], err = client.Resource(crds).Get(context.Background(), name, metav1.GetOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	remove := func() {
		for _, name := range names {
			if err := client.Resource(crds).Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range names { // each takes some seconds to go
			harness.Eventually(t, name+" is gone", func() error {
				_, err := client.Resource(crds).Get(context.Background(), name, metav1.GetOptions{})
				if apierrors.IsNotFound(err) {
					return nil
				}
				return apierrors.NewAlreadyExists(crds.GroupResource(), name)
			})
		}
	}
	restore := func() {
		for _, name := range names {
			fresh := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
				"metadata": map[string]any{"name": name, "labels": saved[name].Object["metadata"].(map[string]any)["labels"]}, "spec": saved[name].Object["spec"]}}
			_, err := client.Resource(crds).Create(context.Background(), fresh, metav1.CreateOptions{})
			if err != nil && !apierrors.IsAlreadyExists(err) {
				t.Fatal(err)
			}
		}
	}
	t.Cleanup(restore)
	remove()
	s := open(t)
	s.canary()
	startFor(t, nil, s.namespace, unlimited, nil)
	for range 2 {
		harness.WaitCondition(t, s.namespace, "web-v2", "grayscale.dev/Accepted", "False", "networking.istio.io")
		restore()
		harness.WaitProgrammed(t, s.namespace, "web-v2", "canary 10% of web")
		if got := weights(s.routes())["v2"]; got != 10 {
			t.Errorf("the routes give v2 %d, want 10", got)
		}
		remove()
	}
}

// A restart with Istio there never says that it is missing.
func TestARestartChangesNothing(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.canary()
	first := start(t, s.namespace, unlimited, nil)
	harness.WaitProgrammed(t, s.namespace, "web-v2", "canary 10% of web")
	s.quiet(first)
	first.stop(t)
	second := start(t, s.namespace, unlimited, nil)
	s.quiet(second)
	if n := second.writes.made.Load(); n != 0 {
		t.Errorf("%d writes after a restart, want none", n)
	}
}
