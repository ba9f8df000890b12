package faults

import (
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/test/harness"
)

// All of grayscale is down, webhook and controller, while users go on working: nobody waits for it, stable is rolled
// out, and a candidate is created without a hold or label. Traffic stays as it was until grayscale is back.
func TestWebhookDownMeanwhile(t *testing.T) {
	s := begin(t)
	s.canary(10)
	scaleGrayscale(t, 0)
	t.Cleanup(func() { scaleGrayscale(t, 2) })

	s.atOnce("a candidate", func() { s.apply("web-v3", 20) })
	s.atOnce("a plain Deployment", func() { s.deploy("plain", "plain", 1, nil) })
	s.atOnce("a new image of stable", func() {
		_, err := harness.Kube().AppsV1().Deployments(s.NS).Patch(ctx, "web-v1", types.StrategicMergePatchType,
			[]byte(`{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"example/app:1.1"}]}}}}`), metav1.PatchOptions{FieldManager: "kubectl-set"})
		s.must(err)
	})
	for _, name := range []string{"web-v1", "web-v3", "plain"} {
		harness.WaitReady(t, s.NS, name)
	}
	s.Served(map[string]float64{"v1": 90, "v2": 10})

	scaleGrayscale(t, 2)
	fault := time.Now()
	s.programmed("web-v3", 20)
	s.Served(map[string]float64{"v1": 70, "v2": 10, "v3": 20})
	s.end(fault)
}

// atOnce fails the test if the API server takes long over what a user does.
func (s story) atOnce(what string, act func()) {
	s.T.Helper()
	const limit = 3 * time.Second // the webhook's own time limit: a call that is waited for takes at least that
	began := time.Now()
	act()
	if took := time.Since(began); took > limit {
		s.T.Errorf("%s took %s without the webhook", what, took)
	}
}

// scaleGrayscale waits until that many replicas are ready and all others gone.
func scaleGrayscale(t *testing.T, replicas int) {
	t.Helper()
	_, err := harness.Kube().AppsV1().Deployments("grayscale-system").Patch(ctx, "grayscale", types.MergePatchType,
		[]byte(fmt.Sprintf(`{"spec":{"replicas":%d}}`, replicas)), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	harness.WaitDeployment(t, "grayscale-system", "grayscale", fmt.Sprintf("%d replicas are ready", replicas), func(d *appsv1.Deployment) bool {
		return d.Status.ObservedGeneration >= d.Generation && int(d.Status.ReadyReplicas) == replicas && int(d.Status.Replicas) == replicas
	})
	harness.Eventually(t, "no other replica runs", func() error {
		if n := len(harness.PodUIDs(t, "grayscale-system", "app.kubernetes.io/name=grayscale")); n != replicas {
			return fmt.Errorf("%d pods", n)
		}
		return nil
	})
}
