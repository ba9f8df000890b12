package annotator

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// fresh returns a tally and resets the gauges.
func fresh(t *testing.T) *tally {
	t.Helper()
	tally := newTally()
	releases.Reset()
	problems.Reset()
	holding.Set(0)
	everySeries()
	return tally
}

// candidate is a Deployment with a strategy and the two conditions.
func candidate(name, strategy, accepted, programmed, reason string) release.Deployment {
	return release.Deployment{Name: name, Replicas: 1, Annotations: map[string]string{intent.KeyStrategy: strategy},
		Conditions: []release.Condition{{Type: intent.ConditionAccepted, Status: accepted, Reason: "Accepted"},
			{Type: intent.ConditionProgrammed, Status: programmed, Reason: reason}}}
}

func sum(t *testing.T, c prometheus.Collector) float64 {
	t.Helper()
	total := 0.0
	metrics := make(chan prometheus.Metric, 1000)
	c.Collect(metrics)
	close(metrics)
	for m := range metrics {
		total += value(t, m)
	}
	return total
}

// single makes a Collector of one metric, because testutil reads collectors.
type single struct{ prometheus.Metric }

func (s single) Describe(out chan<- *prometheus.Desc) { out <- s.Desc() }
func (s single) Collect(out chan<- prometheus.Metric) { out <- s.Metric }

func value(t *testing.T, m prometheus.Metric) float64 {
	t.Helper()
	return testutil.ToFloat64(single{m})
}

func TestReleasesAreCountedByState(t *testing.T) {
	for _, c := range []struct {
		what                    string
		deployment              release.Deployment
		wantStrategy, wantState string
	}{
		{"served", candidate("a", "canary", "True", "True", "Programmed"), "canary", stateProgrammed},
		{"without pods", candidate("a", "blue-green", "True", "False", "NoReadyPods"), "blue-green", stateWaiting},
		{"paused", candidate("a", "mirror", "True", "False", "Paused"), "mirror", statePaused},
		{"refused", candidate("a", "canary", "False", "False", "NotAccepted"), "canary", stateRefused},
		{"refused for its strategy", candidate("a", "blue", "False", "False", "NotAccepted"), strategyUnknown, stateRefused},
		{"inert", candidate("a", "canary", "True", "True", "Stable"), "canary", stateStable},
	} {
		tally := fresh(t)
		tally.note(webService, routing.Facts{Deployments: []release.Deployment{c.deployment}}, routing.Report{})
		if got := testutil.ToFloat64(releases.WithLabelValues(c.wantStrategy, c.wantState)); got != 1 {
			t.Errorf("%s: grayscale_releases{strategy=%q,state=%q} is %v, want 1", c.what, c.wantStrategy, c.wantState, got)
		}
		if got := sum(t, releases); got != 1 {
			t.Errorf("%s: %v releases are counted, want 1", c.what, got)
		}
	}
}

// The gauges show the present: when a Deployment or a Service goes, what it added is subtracted, and what a decision is
// about to write counts before it is written.
func TestGaugesFollowWhatIsThere(t *testing.T) {
	tally := fresh(t)
	held := candidate("held", "canary", "True", "False", "Pinning")
	held.Annotations[intent.KeyHeld], held.SpecPaused = "true", true
	other := types.NamespacedName{Namespace: shop, Name: "other"}
	want := func(what string, releasesWanted, problemsWanted, holdsWanted float64) {
		t.Helper()
		for name, got := range map[string][2]float64{"releases": {sum(t, releases), releasesWanted},
			"problems": {sum(t, problems), problemsWanted}, "holds": {testutil.ToFloat64(holding), holdsWanted}} {
			if got[0] != got[1] {
				t.Errorf("%s: %s are %v, want %v", what, name, got[0], got[1])
			}
		}
	}
	refused := routing.Report{Problems: map[string][]intent.Problem{"served": {{Reason: intent.ReasonUnusedKey}, {Reason: intent.ReasonUnknownKey}}}}
	served := candidate("served", "canary", "True", "True", "Programmed")
	tally.note(webService, routing.Facts{Deployments: []release.Deployment{served, held}}, refused)
	tally.note(other, routing.Facts{Deployments: []release.Deployment{candidate("x", "mirror", "True", "True", "Programmed")}}, routing.Report{})
	want("two Services", 3, 2, 1)
	tally.note(webService, routing.Facts{Deployments: []release.Deployment{served}}, routing.Report{Status: []routing.Status{{Deployment: "served",
		Conditions: candidate("served", "canary", "True", "False", "NoReadyPods").Conditions}}})
	want("a Deployment is gone", 2, 0, 0)
	if got := testutil.ToFloat64(releases.WithLabelValues("canary", stateWaiting)); got != 1 {
		t.Errorf("what is about to be written does not count: %v are waiting", got)
	}
	tally.note(webService, routing.Facts{}, routing.Report{})
	want("a Service is gone", 1, 0, 0)
	if len(tally.shares) != 1 {
		t.Errorf("%d Services are remembered, want the one with a release", len(tally.shares))
	}
}

// A candidate behind several Services counts as one release.
func TestAReleaseOfSeveralServicesIsCountedOnce(t *testing.T) {
	tally := fresh(t)
	x := candidate("web-v2", "canary", "True", "True", "Programmed")
	x.Annotations[intent.KeyService] = "web, web-internal"
	web, internal := release.Service{Namespace: shop, Name: "web"}, release.Service{Namespace: shop, Name: "web-internal"}
	for _, f := range []routing.Facts{{Service: web, Services: []release.Service{internal}}, {Service: internal, Services: []release.Service{web}}} {
		f.Deployments = []release.Deployment{x}
		tally.note(types.NamespacedName{Namespace: shop, Name: f.Service.Name}, f, routing.Report{})
	}
	if got := sum(t, releases); got != 1 {
		t.Errorf("%v releases are counted, want 1", got)
	}
}

// Whatever users write, the number of series does not grow.
func TestUsersMakeNoSeries(t *testing.T) {
	tally := fresh(t)
	count := func() int {
		n := 0
		for _, c := range Collectors() {
			n += testutil.CollectAndCount(c)
		}
		return n
	}
	before := count()
	for n := range 100 {
		x := candidate(fmt.Sprintf("web-%d", n), fmt.Sprintf("strategy-%d", n), "False", "False", "NotAccepted")
		_, found := intent.Parse(x.Name, x.Annotations)
		tally.note(types.NamespacedName{Namespace: fmt.Sprint(n)}, routing.Facts{Deployments: []release.Deployment{x}},
			routing.Report{Problems: map[string][]intent.Problem{x.Name: found}})
	}
	if after := count(); after != before {
		t.Errorf("%d series have become %d", before, after)
	}
	if sum(t, releases) != 100 || sum(t, problems) == 0 {
		t.Errorf("releases %v, problems %v: they are not counted", sum(t, releases), sum(t, problems))
	}
}

func TestDecisionsAndDrainsAreCountedByOutcome(t *testing.T) {
	tally := fresh(t)
	broken := errors.New("broken")
	for outcome, act := range map[string]func(){
		outcomeChanged:   func() { tally.decided(true, nil) },
		outcomeUnchanged: func() { tally.decided(false, nil) },
		outcomeRetried:   func() { tally.decided(true, errStale) },
		outcomeFailed:    func() { tally.decided(true, broken) },
	} {
		before := testutil.ToFloat64(decisions.WithLabelValues(outcome))
		if act(); testutil.ToFloat64(decisions.WithLabelValues(outcome)) != before+1 {
			t.Errorf("a decision is not counted as %s", outcome)
		}
	}
	for outcome, act := range map[string]func(){
		outcomeUnneeded: func() { tally.drained(false, nil) },
		outcomeMoved:    func() { tally.drained(true, nil) },
		outcomeGaveUp:   func() { tally.drained(true, broken) },
	} {
		before := testutil.ToFloat64(drains.WithLabelValues(outcome))
		if act(); testutil.ToFloat64(drains.WithLabelValues(outcome)) != before+1 {
			t.Errorf("a drain is not counted as %s", outcome)
		}
	}
	written, restored := testutil.ToFloat64(writes.WithLabelValues(kindVirtualService, verbMoved)), testutil.ToFloat64(restores.WithLabelValues(kindVirtualService))
	tally.wrote(kindVirtualService, verbMoved, false)
	tally.wrote(kindVirtualService, verbMoved, true)
	if testutil.ToFloat64(writes.WithLabelValues(kindVirtualService, verbMoved)) != written+2 || testutil.ToFloat64(restores.WithLabelValues(kindVirtualService)) != restored+1 {
		t.Error("two writes, one of which put something back, are not counted so")
	}
	tally.followed(time.Second)
}

// Names, units and help texts follow Prometheus' rules (https://prometheus.io/docs/practices/naming/).
func TestMetricsAreWellNamed(t *testing.T) {
	fresh(t)
	for _, c := range Collectors() {
		found, err := testutil.CollectAndLint(c)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range found {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}
