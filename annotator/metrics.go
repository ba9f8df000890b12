package annotator

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// The metrics' labels take values from short lists alone (strategies, states, kinds, reasons), never names of objects.
var (
	releases = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "grayscale_releases",
		Help: "Candidates by strategy and state (programmed, waiting, refused)."}, []string{"strategy", "state"})
	problems = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "grayscale_problems",
		Help: "Problems with annotations that are not mended yet, by reason."}, []string{"reason"})
	writes = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "grayscale_route_writes_total",
		Help: "Writes of derived objects, by kind and verb (created, moved, removed)."}, []string{"kind", "verb"})
	holds = prometheus.NewCounter(prometheus.CounterOpts{Name: "grayscale_holds_lifted_total",
		Help: "Holds that ended because the Service was pinned, or because its owner gave the release up."})
	register = sync.OnceFunc(func() { metrics.Registry.MustRegister(releases, problems, writes, holds) })
)

// kindOfRelease is one combination of labels of grayscale_releases.
type kindOfRelease struct{ strategy, state string }

// tally keeps what each Service adds to the gauges, so that a later decision can take it back.
type tally struct {
	lock     sync.Mutex
	releases map[types.NamespacedName][]kindOfRelease
	problems map[types.NamespacedName][]string
}

func newTally() *tally {
	register()
	return &tally{releases: map[types.NamespacedName][]kindOfRelease{}, problems: map[types.NamespacedName][]string{}}
}

func (t *tally) wrote(kind, verb string) { writes.WithLabelValues(kind, verb).Inc() }

func (t *tally) lifted() { holds.Inc() }

// note replaces what the Service added to the gauges.
func (t *tally) note(key types.NamespacedName, f routing.Facts, d routing.Decision) {
	t.lock.Lock()
	defer t.lock.Unlock()
	for _, k := range t.releases[key] {
		releases.WithLabelValues(k.strategy, k.state).Dec()
	}
	for _, reason := range t.problems[key] {
		problems.WithLabelValues(reason).Dec()
	}
	delete(t.releases, key)
	delete(t.problems, key)
	for _, x := range f.Deployments {
		if k, ok := stateOf(x, d); ok {
			t.releases[key] = append(t.releases[key], k)
			releases.WithLabelValues(k.strategy, k.state).Inc()
		}
	}
	for _, list := range d.Problems {
		for _, p := range list {
			t.problems[key] = append(t.problems[key], p.Reason)
			problems.WithLabelValues(p.Reason).Inc()
		}
	}
}

func stateOf(x release.Deployment, d routing.Decision) (kindOfRelease, bool) {
	conditions := x.Conditions
	for _, s := range d.Status {
		if s.Deployment == x.Name {
			conditions = s.Conditions
		}
	}
	asked, _ := intent.Parse(x.Name, x.Annotations)
	if asked.Strategy == "" || len(conditions) == 0 {
		return kindOfRelease{}, false
	}
	state := "waiting"
	for _, c := range conditions {
		switch {
		case c.Type == intent.ConditionAccepted && c.Status == "False":
			state = "refused"
		case c.Type == intent.ConditionProgrammed && c.Status == "True":
			state = "programmed"
		}
	}
	return kindOfRelease{string(asked.Strategy), state}, true
}
