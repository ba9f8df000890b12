package annotator

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

// Values of the label state.
const (
	stateProgrammed = "programmed"
	stateWaiting    = "waiting"
	statePaused     = "paused"
	stateRefused    = "refused"
	stateStable     = "stable"
)

// Values of the label outcome, of decisions and of drains.
const (
	outcomeChanged   = "changed"
	outcomeUnchanged = "unchanged"
	outcomeRetried   = "retried"
	outcomeFailed    = "failed"

	outcomeUnneeded = "unneeded"
	outcomeMoved    = "moved"
	outcomeGaveUp   = "gave_up"
)

// Values of the label verb.
const (
	verbCreated = "created"
	verbMoved   = "moved"
	verbRemoved = "removed"
)

// strategyUnknown stands for any strategy that does not exist, so that users cannot create series.
const strategyUnknown = "unknown"

// Labels take values only from short lists, never names of objects. docs/metrics.md is generated from these metrics.
var (
	releases = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "grayscale_releases",
		Help: "Deployments with a strategy, by what has become of it: programmed, waiting, paused by their owner, " +
			"refused, or stable, where it is inert. Only the leader counts."},
		[]string{"strategy", "state"})
	problems = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "grayscale_problems",
		Help: "Problems with annotations that are not mended yet, by the reason that the condition Accepted gives, " +
			"or Programmed where somebody else's object disturbs a release. Only the leader counts."}, []string{"reason"})
	holding = prometheus.NewGauge(prometheus.GaugeOpts{Name: "grayscale_holds",
		Help: "Candidates that are held at zero pods now, until their Service is pinned to stable. Only the leader counts."})
	lifts = prometheus.NewCounter(prometheus.CounterOpts{Name: "grayscale_holds_lifted_total",
		Help: "Holds that ended because the Service was pinned, or because its owner gave the release up."})
	writes = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "grayscale_route_writes_total",
		Help: "Writes of derived objects."}, []string{"kind", "verb"})
	restores = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "grayscale_routes_restored_total",
		Help: "Derived objects that were written because somebody else had edited or deleted them."}, []string{"kind"})
	decisions = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "grayscale_decisions_total",
		Help: "Decisions about Services: something was changed, nothing had to be, a cache lagged behind " +
			"or somebody else wrote in between, or a write failed."}, []string{"outcome"})
	changeSeconds = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "grayscale_change_seconds",
		Help: "Time from the first sight of a changed annotation to the write of the routes that follow it. " +
			"Changes that wait for their owner (no ready pods, paused, refused) are not counted.",
		Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}})
	drains = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "grayscale_drains_total",
		Help: "Questions of the API server about deletions and scalings to zero, sometimes several about one: " +
			"no traffic had to move, it has gone, or it was given up."}, []string{"outcome"})
	precedes = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "grayscale_bypasses_total",
		Help: "Questions of the API server about other people's DestinationRules, sometimes several about one: " +
			"no client had to be led past a release's subsets first, some have been, or it was given up."}, []string{"outcome"})

	register = sync.OnceFunc(func() { metrics.Registry.MustRegister(Collectors()...) })
)

// Collectors are the controller's metrics, with every series that they can have. Setup registers them with
// controller-runtime's registry.
func Collectors() []prometheus.Collector {
	everySeries()
	return []prometheus.Collector{releases, problems, holding, lifts, writes, restores, decisions,
		changeSeconds, drains, precedes}
}

// everySeries creates all series that there can be. A series that appears with its first increase hides that increase
// from rate().
func everySeries() {
	strategies := []string{strategyUnknown}
	for _, s := range intent.Strategies() {
		strategies = append(strategies, string(s))
	}
	for _, strategy := range strategies {
		for _, state := range []string{stateProgrammed, stateWaiting, statePaused, stateRefused, stateStable} {
			releases.WithLabelValues(strategy, state)
		}
	}
	for _, reason := range routing.Reasons() {
		problems.WithLabelValues(reason)
	}
	for _, kind := range []string{kindVirtualService, kindDestinationRule} {
		restores.WithLabelValues(kind)
		for _, verb := range []string{verbCreated, verbMoved, verbRemoved} {
			writes.WithLabelValues(kind, verb)
		}
	}
	for _, outcome := range []string{outcomeChanged, outcomeUnchanged, outcomeRetried, outcomeFailed} {
		decisions.WithLabelValues(outcome)
	}
	for _, outcome := range []string{outcomeUnneeded, outcomeMoved, outcomeGaveUp} {
		drains.WithLabelValues(outcome)
		precedes.WithLabelValues(outcome)
	}
}

// releaseLabels is one combination of the labels of grayscale_releases.
type releaseLabels struct{ strategy, state string }

// share is what one Service adds to the gauges.
type share struct {
	releases []releaseLabels
	problems []string
	held     int
}

// tally keeps what each Service adds to the gauges, so that a later decision can subtract it. A replica that does not
// lead makes no reconciles, and so adds nothing.
type tally struct {
	lock   sync.Mutex
	shares map[types.NamespacedName]share
}

func newTally() *tally {
	register()
	return &tally{shares: map[types.NamespacedName]share{}}
}

func (t *tally) wrote(kind, verb string, restored bool) {
	writes.WithLabelValues(kind, verb).Inc()
	if restored {
		restores.WithLabelValues(kind).Inc()
	}
}

func (t *tally) lifted() { lifts.Inc() }

// decided counts a decision that was acted on.
func (t *tally) decided(changed bool, err error) {
	outcome := outcomeUnchanged
	switch {
	case err != nil && waits(err):
		outcome = outcomeRetried
	case err != nil:
		outcome = outcomeFailed
	case changed:
		outcome = outcomeChanged
	}
	decisions.WithLabelValues(outcome).Inc()
}

func (t *tally) followed(after time.Duration) { changeSeconds.Observe(after.Seconds()) }

// drained counts an answer to the API server about a deletion or a scaling to zero. moved: traffic was moved for it.
func (t *tally) drained(moved bool, err error) { drains.WithLabelValues(outcomeOf(moved, err)).Inc() }

// preceded counts an answer to the API server about a DestinationRule. moved: traffic was moved for it.
func (t *tally) preceded(moved bool, err error) {
	precedes.WithLabelValues(outcomeOf(moved, err)).Inc()
}

func outcomeOf(moved bool, err error) string {
	outcome := outcomeUnneeded
	switch {
	case err != nil:
		outcome = outcomeGaveUp
	case moved:
		outcome = outcomeMoved
	}
	return outcome
}

// note replaces what the Service added to the gauges. A Service that adds nothing is forgotten.
func (t *tally) note(key types.NamespacedName, f routing.Facts, r routing.Report) {
	var is share
	for _, x := range f.Deployments {
		if !f.Tells(x) {
			continue // another of its Services counts it
		}
		if k, ok := stateOf(x, r); ok {
			is.releases = append(is.releases, k)
		}
		if x.IsHeld() {
			is.held++
		}
	}
	for _, list := range r.Problems {
		for _, p := range list {
			is.problems = append(is.problems, p.Reason)
		}
	}
	t.lock.Lock()
	defer t.lock.Unlock()
	t.shares[key].add(-1)
	is.add(1)
	if t.shares[key] = is; len(is.releases)+len(is.problems)+is.held == 0 {
		delete(t.shares, key)
	}
}

func (s share) add(sign float64) {
	for _, k := range s.releases {
		releases.WithLabelValues(k.strategy, k.state).Add(sign)
	}
	for _, reason := range s.problems {
		problems.WithLabelValues(reason).Add(sign)
	}
	holding.Add(sign * float64(s.held))
}

// stateOf are the labels of a Deployment with a strategy; false where it has no strategy, or no conditions yet.
func stateOf(x release.Deployment, r routing.Report) (releaseLabels, bool) {
	conditions := conditionsOf(x, r)
	if x.Annotations[intent.KeyStrategy] == "" || len(conditions) == 0 {
		return releaseLabels{}, false
	}
	asked, _ := intent.Parse(x.Name, x.Annotations)
	strategy := string(asked.Strategy)
	if strategy == "" {
		strategy = strategyUnknown
	}
	return releaseLabels{strategy, stateIn(conditions)}, true
}

func stateIn(conditions []release.Condition) string {
	state := stateWaiting
	for _, c := range conditions {
		switch {
		case c.Reason == routing.ReasonStable:
			return stateStable
		case c.Type == intent.ConditionAccepted && c.Status == "False":
			return stateRefused
		case c.Type != intent.ConditionProgrammed:
		case c.Status == "True", c.Reason == mesh.ReasonRuleConflict, c.Reason == mesh.ReasonHostConflict:
			// Some clients do not follow the routes; grayscale_problems counts that.
			state = stateProgrammed
		case c.Reason == routing.ReasonPaused:
			state = statePaused
		}
	}
	return state
}

// conditionsOf are the conditions that a Deployment has once the decision is acted on.
func conditionsOf(x release.Deployment, r routing.Report) []release.Condition {
	for _, s := range r.Status {
		if s.Deployment == x.Name {
			return s.Conditions
		}
	}
	return x.Conditions
}
