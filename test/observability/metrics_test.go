package observability

import (
	"fmt"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/test/harness"
)

const derived = "web-grayscale"

var (
	programmed = reading{"grayscale_releases", []string{`strategy="canary"`, `state="programmed"`}}
	waiting    = reading{"grayscale_releases", []string{`strategy="canary"`, `state="waiting"`}}
	paused     = reading{"grayscale_releases", []string{`strategy="canary"`, `state="paused"`}}
	refused    = reading{"grayscale_releases", []string{`state="refused"`}}
	holds      = reading{"grayscale_holds", nil}
	lifted     = reading{"grayscale_holds_lifted_total", nil}
	followed   = reading{"grayscale_change_seconds_count", nil}
	drained    = reading{"grayscale_drains_total", []string{`outcome="moved"`}}
	denied     = reading{"grayscale_admissions_total", []string{`outcome="refused"`}}
)

func restored(kind string) reading {
	return reading{"grayscale_routes_restored_total", []string{`kind="` + kind + `"`}}
}

func written(kind, verb string) reading {
	return reading{"grayscale_route_writes_total", []string{`kind="` + kind + `"`, `verb="` + verb + `"`}}
}

// A release runs from its candidate to the deletion of its namespace, and the metrics show each step.
func TestMetricsTellALife(t *testing.T) {
	before := map[string]float64{}
	for _, r := range []reading{lifted, followed, drained, denied, restored("VirtualService"), restored("DestinationRule"), written("VirtualService", "created"), written("DestinationRule", "created")} {
		before[r.String()] = r.now(t)
	}
	more := func(r reading, by float64) {
		t.Helper()
		r.becomes(t, before[r.String()]+by)
	}
	ns := shop(t)
	canary(t, ns, 10)
	programmed.becomes(t, 1)
	holds.becomes(t, 0)
	more(lifted, 1)
	more(written("VirtualService", "created"), 1)
	more(written("DestinationRule", "created"), 1)
	more(followed, 0) // it had to wait for its own pods

	weigh(t, ns, 50)
	more(followed, 1)

	out, err := harness.TryKubectl(t, "", "annotate", "--overwrite", "-n", ns, "deploy/web-v2", "grayscale.dev/weight=150")
	if err == nil {
		t.Errorf("a wrong weight was taken: %s", out)
	}
	more(denied, 1)

	harness.Kubectl(t, "", "annotate", "--overwrite", "-n", ns, "deploy/web-v2", "grayscale.dev/paused=true", "grayscale.dev/weight=60")
	paused.becomes(t, 1)
	harness.Kubectl(t, "", "annotate", "-n", ns, "deploy/web-v2", "grayscale.dev/paused-")
	harness.WaitProgrammed(t, ns, "web-v2", "canary 60% of web")
	programmed.becomes(t, 1)

	edit(t, ns)
	more(restored("VirtualService"), 1)
	if err := harness.Istio().NetworkingV1().DestinationRules(ns).Delete(ctx, derived, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	more(restored("DestinationRule"), 1)
	harness.WaitProgrammed(t, ns, "web-v2", "canary 60% of web")

	var both sync.WaitGroup
	for range 2 { // both are about the same deletion, as the API server retries after a conflict
		both.Go(func() {
			if out, err := harness.TryKubectl(t, "", "scale", "-n", ns, "deploy/web-v2", "--replicas=0"); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	both.Wait()
	more(drained, 1)
	waiting.becomes(t, 1)
	harness.Kubectl(t, "", "delete", "namespace", ns, "--wait=false")
	waiting.becomes(t, 0)
	programmed.becomes(t, 0)
	if n := restored("VirtualService").now(t) - before[restored("VirtualService").String()]; n != 1 {
		t.Errorf("%v edits of VirtualServices are counted, want 1: what grayscale writes itself counts as well", n)
	}
}

// edit changes the weights in the derived VirtualService.
func edit(t *testing.T, ns string) {
	t.Helper()
	_, err := harness.Istio().NetworkingV1().VirtualServices(ns).Patch(ctx, derived, types.MergePatchType,
		[]byte(`{"spec":{"http":[{"route":[{"destination":{"host":"web","subset":"v1"},"weight":100}]}]}}`), metav1.PatchOptions{FieldManager: "kubectl-edit"})
	if err != nil {
		t.Fatal(err)
	}
}

// A candidate whose Service does not exist is admitted with a warning. The controller counts it until it goes.
func TestMetricsTellWhatIsRefused(t *testing.T) {
	ns := shop(t)
	deploy(t, ns, "web-v2", map[string]string{"grayscale.dev/strategy": "canary", "grayscale.dev/service": "nobody"})
	refused.becomes(t, 1)
	reading{"grayscale_problems", []string{`reason="NoService"`}}.becomes(t, 1)
	harness.Kubectl(t, "", "delete", "-n", ns, "deploy/web-v2")
	refused.becomes(t, 0)
	reading{"grayscale_problems", nil}.becomes(t, 0)
}

// Another replica leads, and the releases are counted once, by the new one.
func TestMetricsOutliveALeader(t *testing.T) {
	ns := shop(t)
	canary(t, ns, 10)
	old := harness.Leader(t)
	harness.Kubectl(t, "", "delete", "pod", "-n", "grayscale-system", old.Pod)
	leader := harness.Leader(t)
	if leader.Pod == old.Pod {
		t.Fatalf("%s leads still", old.Pod)
	}
	harness.Eventually(t, "the new leader counts the release, and nobody else", func() error {
		for _, r := range harness.Replicas(t) {
			want := 0.0
			if r.Pod == leader.Pod {
				want = 1
			}
			if is, err := r.Metric(programmed.metric, programmed.labels...); err != nil || is != want {
				return fmt.Errorf("%s counts %v, want %v: %v", r.Pod, is, want, err)
			}
		}
		return nil
	})
	harness.Kubectl(t, "", "rollout", "status", "-n", "grayscale-system", "deploy/grayscale")
}

// Every replica reports that it watches Istio, and when its certificate expires.
func TestMetricsOfEveryReplica(t *testing.T) {
	for _, r := range harness.Replicas(t) {
		if watched, err := r.Metric("grayscale_istio_watched"); err != nil || watched != 1 {
			t.Errorf("%s: grayscale_istio_watched is %v: %v", r.Pod, watched, err)
		}
		expiry, err := r.Metric("grayscale_certificate_expiry_timestamp_seconds")
		if left := time.Until(time.Unix(int64(expiry), 0)); err != nil || left < 7*24*time.Hour {
			t.Errorf("%s: its certificate expires in %s: %v", r.Pod, left, err)
		}
	}
}
