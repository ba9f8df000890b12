package annotator

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

var webService = types.NamespacedName{Namespace: shop, Name: "web"}

func at(seconds int64) time.Time { return time.Unix(seconds, 0) }

// A pod counts as ready for as long as this process has seen it so, under one label and without a break, whatever its node's
// clock says.
func TestReadinessIsByOurOwnClock(t *testing.T) {
	m, p := newMemory(), pod("p", "web", map[string]string{"version": "v1"})
	p.UID = "p"
	p.Status.Conditions[0].LastTransitionTime = metav1.Unix(7, 0)
	for _, step := range []struct {
		what   string
		now    int64
		change func()
		since  int64
	}{
		{"seen first", 100, func() {}, 100},
		{"seen again", 110, func() {}, 100},
		{"another label", 120, func() { p.Labels = map[string]string{"version": "v2"} }, 120},
		{"unready and ready again in between", 130, func() { p.Status.Conditions[0].LastTransitionTime = metav1.Unix(9, 0) }, 130},
		{"seen again", 140, func() {}, 130},
	} {
		step.change()
		if got := m.watched(webService, at(step.now), []*corev1.Pod{p})["p"]; !got.Equal(at(step.since)) {
			t.Errorf("%s: since %d, want %d", step.what, got.Unix(), step.since)
		}
	}
	p.Status.Conditions[0].Status = corev1.ConditionFalse
	if got := m.watched(webService, at(150), []*corev1.Pod{p}); len(got) != 0 {
		t.Errorf("unready: %v", got)
	}
}

// The times in a derived object count from when it was first seen, but for what this process wrote itself.
func TestTimesOfOthersCountFromNow(t *testing.T) {
	m := newMemory()
	see := func(now int64, kind, version string) int64 { return m.since(webService, kind, version, at(now)).Unix() }
	if got := see(100, kindVirtualService, "5"); got != 100 {
		t.Errorf("found there: since %d, want 100", got)
	}
	m.vouch(webService, kindVirtualService, "6")
	if got := see(110, kindVirtualService, "6"); got != 100 {
		t.Errorf("written by us: since %d, want 100", got)
	}
	if got := see(120, kindDestinationRule, "4"); got != 120 {
		t.Errorf("the other object: since %d, want 120", got)
	}
	if got := see(130, kindVirtualService, "7"); got != 130 {
		t.Errorf("edited: since %d, want 130", got)
	}
	if got := see(140, kindDestinationRule, ""); got != 140 {
		t.Errorf("removed: since %d, want 140", got)
	}
	if got := see(150, kindVirtualService, "7"); got != 130 {
		t.Errorf("the first again: since %d, want 130", got)
	}
	m.forget(webService)
	if len(m.services) != 0 {
		t.Errorf("it remembers %v", m.services)
	}
}
