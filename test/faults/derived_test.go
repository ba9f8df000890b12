package faults

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/test/harness"
)

// back is the time within which a derived object is restored after an edit.
const back = time.Second

// Users edit and delete the derived objects while they serve. Everything is restored. Changing the weights or deleting
// the routes loses no request.
func TestDerivedObjectsEditedAndDeleted(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.canary(10)
	tenth := func(w harness.Write) bool { return w.Weights["v1"] == 90 && w.Weights["v2"] == 10 }

	s.putBack("weights that were edited", "virtualservices", tenth, func() {
		s.patchRoutes(`{"spec":{"http":[{"route":[{"destination":{"host":"web","subset":"v2"},"weight":100}]}]}}`)
	})
	s.putBack("routes that were emptied", "virtualservices", tenth, func() {
		s.patchRoutes(`{"spec":{"hosts":["elsewhere.example"],"http":[]}}`)
	})
	s.Served(map[string]float64{"v1": 90, "v2": 10})

	s.must(harness.Istio().NetworkingV1().VirtualServices(s.NS).Delete(ctx, derived, metav1.DeleteOptions{}))
	fault := time.Now()
	s.programmed("web-v2", 10)
	s.Served(map[string]float64{"v1": 90, "v2": 10})
	s.end(fault)
}

// Removing subsets that routes name loses the requests of that moment, because istiod removes the subset at once.
// grayscale restores it within a second.
func TestDerivedSubsetsRemoved(t *testing.T) {
	t.Parallel()
	s := scene(t)
	s.canary(10)
	rules := harness.Istio().NetworkingV1().DestinationRules(s.NS)
	whole := func(w harness.Write) bool { return !w.Deleted && len(w.Subsets) == 2 }
	for what, act := range map[string]func(){
		"a subset that was removed": func() {
			_, err := rules.Patch(ctx, derived, types.MergePatchType, []byte(`{"spec":{"subsets":[{"name":"v1","labels":{"version":"v1"}}]}}`), metav1.PatchOptions{})
			s.must(err)
		},
		"a DestinationRule that was deleted": func() { s.must(rules.Delete(ctx, derived, metav1.DeleteOptions{})) },
	} {
		s.putBack(what, "destinationrules", whole, act)
		harness.WaitServed(t, s.URL)
		s.quiet(time.Now())
		s.Served(map[string]float64{"v1": 90, "v2": 10})
	}
	for _, b := range s.history.Breaches() {
		if took := b.Until.Sub(b.Since); b.Open || took > back {
			t.Errorf("from revision %d on, subset %s was missing for %s (still: %t), want at most %s", b.Revision, b.Subset, took, b.Open, back)
		}
	}
	s.neighbourUntouched()
}

// putBack runs a user's action and waits until the object is restored.
func (s story) putBack(what, kind string, as func(harness.Write) bool, act func()) {
	s.T.Helper()
	before := len(s.history.Writes(nil))
	act()
	done := time.Now()
	if w := s.written(kind, before, as); w.At.Sub(done) > back {
		s.T.Errorf("%s: put back after %s, want within %s", what, w.At.Sub(done), back)
	}
}
