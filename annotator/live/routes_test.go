package live

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/test/harness"
)

func (s shop) patchRoutes(change string) {
	s.Helper()
	_, err := harness.Istio().NetworkingV1().VirtualServices(s.namespace).Patch(context.Background(), "web-grayscale", types.MergePatchType,
		[]byte(change), metav1.PatchOptions{FieldManager: "kubectl-edit"})
	s.must(err)
}

// within waits that long at most.
func (s shop) within(limit time.Duration, what string, done func() bool) time.Duration {
	s.Helper()
	begin := time.Now()
	for !done() {
		if time.Since(begin) > limit {
			s.Fatalf("%s: not within %s", what, limit)
		}
		time.Sleep(2 * time.Millisecond)
	}
	return time.Since(begin)
}

// Whatever a user edits in our spec is put back within a second, and told; what is not ours stays.
// The test is not parallel: beside others a second is short.
func TestEditedRoutesArePutBack(t *testing.T) {
	s := open(t)
	s.canary()
	c := start(t, s.namespace, unlimited, nil)
	harness.WaitProgrammed(t, s.namespace, "web-v2", "canary 10% of web")
	right := s.routes()
	s.patchRoutes(`{"metadata":{"annotations":{"team":"a"}},"spec":{"exportTo":["."],"http":[]}}`)
	took := s.within(time.Second, "an edit is put back", func() bool {
		vs := s.routes()
		return len(vs.Spec.ExportTo) == 0 && weights(vs)["v2"] == 10
	})
	t.Logf("put back after %s", took)
	vs := s.routes()
	if vs.Annotations["team"] != "a" {
		t.Errorf("annotations are %v, want the user's kept", vs.Annotations)
	}
	if vs.Spec.String() != right.Spec.String() {
		t.Errorf("the spec is %s, want %s", vs.Spec.String(), right.Spec.String())
	}
	harness.WaitEvent(t, s.namespace, "web", "RoutesRestored", "edited")
	s.must(harness.Istio().NetworkingV1().VirtualServices(s.namespace).Delete(context.Background(), "web-grayscale", metav1.DeleteOptions{}))
	s.within(harness.Patience, "a removed VirtualService is back", func() bool { return weights(s.routes())["v2"] == 10 })
	s.quiet(c)
}

// quiet fails where the controller goes on writing though nothing changes.
func (s shop) quiet(c *controller) {
	s.Helper()
	time.Sleep(4 * settle)
	before := c.writes.made.Load()
	time.Sleep(2 * time.Second)
	if n := c.writes.made.Load() - before; n != 0 {
		s.Errorf("%d writes in 2 s in which nothing changed", n)
	}
}

// A write that was decided before somebody else's is refused by the API server, and decided anew.
func TestStaleDecisionIsRefused(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.canary()
	var armed atomic.Bool
	c := start(t, s.namespace, unlimited, func(r *http.Request) {
		if r.Method == http.MethodPatch && strings.HasSuffix(r.URL.Path, "/virtualservices/web-grayscale") && armed.CompareAndSwap(true, false) {
			s.patchRoutes(`{"metadata":{"annotations":{"meanwhile":"yes"}}}`)
		}
	})
	harness.WaitProgrammed(t, s.namespace, "web-v2", "canary 10% of web")
	armed.Store(true)
	conflicts := c.writes.count(http.StatusConflict).Load()
	s.patch("web-v2", `{"metadata":{"annotations":{"grayscale.dev/weight":"30"}}}`)
	harness.WaitProgrammed(t, s.namespace, "web-v2", "canary 30% of web")
	if got := c.writes.count(http.StatusConflict).Load(); got != conflicts+1 {
		t.Errorf("%d writes were refused, want the one", got-conflicts)
	}
	if vs := s.routes(); vs.Annotations["meanwhile"] != "yes" || weights(vs)["v2"] != 30 {
		t.Errorf("annotations %v, weights %v; want the other's write kept, and 30", vs.Annotations, weights(vs))
	}
}

// A port that goes takes its routes along, though their field was created by us as well.
func TestRoutesFollowThePorts(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.canary()
	c := start(t, s.namespace, unlimited, nil)
	harness.WaitProgrammed(t, s.namespace, "web-v2", "canary 10% of web")
	_, err := harness.Kube().CoreV1().Services(s.namespace).Patch(context.Background(), "web", types.MergePatchType,
		[]byte(`{"spec":{"ports":[{"name":"tcp-data","port":6379,"targetPort":8080}]}}`), metav1.PatchOptions{})
	s.must(err)
	s.within(harness.Patience, "routes for TCP alone", func() bool {
		vs := s.routes()
		return len(vs.Spec.Http) == 0 && len(vs.Spec.Tcp) == 1
	})
	s.quiet(c)
}

// A release that is over leaves no trace: no objects, no conditions, no annotations, no fields.
func TestNoTraceStays(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.canary()
	c := start(t, s.namespace, unlimited, nil)
	harness.WaitProgrammed(t, s.namespace, "web-v2", "canary 10% of web")
	since := transition(s.deployment("web-v2"), "grayscale.dev/Programmed")
	time.Sleep(1100 * time.Millisecond) // times in conditions are whole seconds
	s.patch("web-v2", `{"metadata":{"annotations":{"grayscale.dev/weight":"20"}}}`)
	harness.WaitProgrammed(t, s.namespace, "web-v2", "canary 20% of web")
	if now := transition(s.deployment("web-v2"), "grayscale.dev/Programmed"); !now.Equal(&since) {
		t.Errorf("Programmed stayed True, yet its lastTransitionTime went from %s to %s", since, now)
	}
	s.patch("web-v2", `{"metadata":{"annotations":{"grayscale.dev/weight":null,"grayscale.dev/strategy":null}},"spec":{"replicas":0}}`)
	s.within(harness.Patience, "the routes are gone", func() bool {
		rules, err := harness.Istio().NetworkingV1().DestinationRules(s.namespace).List(context.Background(), metav1.ListOptions{})
		s.must(err)
		return s.routes() == nil && len(rules.Items) == 0
	})
	s.quiet(c)
	for _, name := range []string{"web", "web-v2"} {
		d := s.deployment(name)
		for _, cond := range d.Status.Conditions {
			if strings.HasPrefix(string(cond.Type), "grayscale.dev/") {
				t.Errorf("%s still has condition %s", name, cond.Type)
			}
		}
		for _, e := range d.ManagedFields {
			if e.Manager == "grayscale" && strings.Contains(e.FieldsV1.GetRawString(), "grayscale.dev/") {
				t.Errorf("%s: grayscale still owns %s", name, e.FieldsV1.GetRawString())
			}
		}
		if v, ok := d.Annotations["grayscale.dev/version"]; ok {
			t.Errorf("%s still has grayscale.dev/version=%s", name, v)
		}
	}
}

func transition(d *appsv1.Deployment, kind string) metav1.Time {
	for _, c := range d.Status.Conditions {
		if string(c.Type) == kind {
			return c.LastTransitionTime
		}
	}
	return metav1.Time{}
}

// A change of weight is one write of the VirtualService and one of the status. How soon, make bench measures.
func TestWeightIsTwoWrites(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.canary()
	c := start(t, s.namespace, unlimited, nil)
	harness.WaitProgrammed(t, s.namespace, "web-v2", "canary 10% of web")
	s.quiet(c)
	writes := c.writes.made.Load()
	const changes = 40
	for i := range changes {
		s.patch("web-v2", fmt.Sprintf(`{"metadata":{"annotations":{"grayscale.dev/weight":"%d"}}}`, 20+i))
		harness.WaitCondition(t, s.namespace, "web-v2", "grayscale.dev/Programmed", "True", fmt.Sprintf("canary %d%%", 20+i))
	}
	if n := c.writes.made.Load() - writes; n != 2*changes {
		t.Errorf("%d writes for %d changes, want two each", n, changes)
	}
}

// Deployments, pods and Services without a release cost no write, and do not wake the controller's workers.
func TestWithoutAReleaseNothingIsWritten(t *testing.T) {
	t.Parallel()
	s := open(t)
	c := start(t, s.namespace, unlimited, nil)
	time.Sleep(settle)
	s.patch("web", `{"spec":{"replicas":3},"metadata":{"annotations":{"team":"a"}}}`)
	harness.WaitReady(t, s.namespace, "web")
	if n := c.writes.made.Load(); n != 0 {
		t.Errorf("%d writes though nothing is annotated", n)
	}
}

// What others write to a Deployment in between (its status, most often) costs one more try and no Event.
func TestOthersWritesInBetweenLoseNothing(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.canary()
	var armed atomic.Bool
	armed.Store(true)
	c := start(t, s.namespace, unlimited, func(r *http.Request) {
		if r.Method == http.MethodPatch && strings.HasSuffix(r.URL.Path, "/deployments/web-v2") && armed.CompareAndSwap(true, false) {
			s.patch("web-v2", `{"metadata":{"labels":{"team":"a"}}}`)
		}
	})
	harness.WaitProgrammed(t, s.namespace, "web-v2", "canary 10% of web")
	harness.WaitEvent(t, s.namespace, "web-v2", "HoldLifted", "may start")
	if n := c.writes.count(http.StatusConflict).Load(); n == 0 {
		t.Error("no write was refused: the test met nothing")
	}
}
