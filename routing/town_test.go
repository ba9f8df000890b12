package routing_test

import (
	"slices"
	"testing"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// town is one or several Services, each decided by itself, that share their Deployments.
type town struct {
	facts    []routing.Facts // the first has the Deployments, the time, and what is asked of all
	settings routing.Settings
}

func newTown(f routing.Facts, s routing.Settings) *town {
	beside := f.Beside
	f.Beside = nil
	return &town{append([]routing.Facts{f}, beside...), s}
}

// entry is one decision, with its Service if there are several.
type entry struct {
	Service string `json:"service,omitempty"`
	decision
}

// view is what is known when the n-th Service is decided.
func (w *town) view(n int) routing.Facts {
	f := w.one(n)
	for o := range w.facts {
		if o != n {
			f.Beside = append(f.Beside, w.one(o))
		}
	}
	return f
}

func (w *town) one(n int) routing.Facts {
	f, all := w.facts[n], w.facts[0]
	f.Now, f.Leaving, f.Strays = all.Now, all.Leaving, all.Strays
	is(&f).Missing = is(&all).Missing
	if len(w.facts) > 1 {
		f.Deployments = slices.DeleteFunc(slices.Clone(all.Deployments), func(d release.Deployment) bool {
			return !f.Service.Selects(&d) && !slices.Contains(intent.Services(d.Annotations), f.Service.Name)
		})
		for o := range w.facts {
			if o != n {
				f.Services = append(slices.Clone(f.Services), w.facts[o].Service)
			}
		}
	}
	return f
}

// decideAll decides one Service after the other until nothing is left to do now.
func (w *town) decideAll(t *testing.T, what string) []entry {
	t.Helper()
	var out []entry
	for range mostDecisions {
		rest := true
		for n := range w.facts {
			d := decide(w.view(n), w.settings)
			if idle(d) {
				continue
			}
			rest = false
			e := entry{decision: d}
			if len(w.facts) > 1 {
				e.Service = w.facts[n].Service.Name
			}
			out = append(out, e)
			w.obey(n, d)
		}
		if rest {
			return out
		}
	}
	t.Fatalf("step %q: still something to do after %d rounds", what, mostDecisions)
	return nil
}

func (w *town) obey(n int, d decision) {
	f := w.facts[n]
	f.Deployments = w.facts[0].Deployments
	obey(&f, d)
	w.facts[0].Deployments = f.Deployments
	w.facts[n].Mesh = f.Mesh
}
