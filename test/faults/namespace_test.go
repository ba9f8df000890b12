package faults

import (
	"fmt"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/test/harness"
)

// A namespace is deleted in the middle of an adoption. Nobody can serve its requests any more. The promise is that
// nothing of ours blocks the deletion, that grayscale does not retry again and again, and that a release elsewhere goes
// on. The test is not parallel, because it counts all of grayscale's writes.
func TestNamespaceDeletedMidRelease(t *testing.T) {
	elsewhere := begin(t)
	elsewhere.apply("web-v2", 10)
	doomed := scene(t)
	elsewhere.programmed("web-v2", 10)
	doomed.apply("web-v2", 10)
	doomed.written("destinationrules", doomed.before, func(harness.Write) bool { return true })
	leader := harness.Leader(t)
	before := requests(t, leader)

	s := elsewhere
	s.must(harness.Kube().CoreV1().Namespaces().Delete(ctx, doomed.NS, metav1.DeleteOptions{}))
	harness.Eventually(t, "the namespace is gone", func() error {
		_, err := harness.Kube().CoreV1().Namespaces().Get(ctx, doomed.NS, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is still there: %v", err)
	})
	fault := time.Now()
	if n := requests(t, leader) - before; n > 50 {
		t.Errorf("grayscale sent %.0f writes while the namespace was going", n)
	} else {
		t.Logf("grayscale sent %.0f writes while the namespace was going", n)
	}
	after := requests(t, leader)
	time.Sleep(silence)
	if n := requests(t, leader) - after; n != 0 {
		t.Errorf("grayscale sent %.0f writes though the namespace is gone", n)
	}
	elsewhere.weigh(20)
	elsewhere.programmed("web-v2", 20)
	elsewhere.Served(map[string]float64{"v1": 80, "v2": 20})
	elsewhere.end(fault)
}

// requests are the writes that a replica has sent, whatever the answers were; a PUT is its lease's.
func requests(t *testing.T, r harness.Replica) float64 {
	t.Helper()
	sum := 0.0
	for _, method := range []string{"POST", "PATCH", "DELETE"} {
		n, err := r.Metric("rest_client_requests_total", fmt.Sprintf("method=%q", method))
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	return sum
}
