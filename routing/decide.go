// Package routing is the engine: annotations and observed facts in, one decision out. It is pure (no clients,
// clocks, contexts, goroutines, logs or randomness), so that the webhook, the controller, the simulator and a preview
// show the same thing because they call the same functions.
package routing

import (
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/resourceversion"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
)

// Decide is the whole engine: the next safe step for one Service, computed from what exists. Making the steps that it
// returns, one after the other, always ends with a Decision that is empty but for Problems; a crash between two of them
// is just another Facts.
func Decide(f Facts, s Settings) Decision {
	d := &deciding{facts: f, settings: s}
	if d.begin(); d.late {
		d.out.After = s.Settle // the watch brings what is missing, and an event with it
		return d.out
	}
	for _, b := range d.beside {
		b.step()
	}
	d.step()
	d.lift()
	d.marks()
	d.conditions()
	d.confirm()
	return d.out
}

// begin reads what is there, and tells who plays which part: behind each Service by itself, and then with what the others say.
func (d *deciding) begin() {
	all := []*deciding{d}
	for _, b := range d.facts.Beside {
		all = append(all, &deciding{facts: b, settings: d.settings, aside: true})
	}
	for n, p := range all {
		p.beside = slices.Delete(slices.Clone(all), n, n+1)
		p.read()
		d.late = d.late || p.late
	}
	alone := make([]release.Cast, len(all))
	for n, p := range all {
		alone[n] = p.cast
	}
	for n, p := range all {
		p.follow(slices.Delete(slices.Clone(alone), n, n+1))
	}
}

// read reads what is there of one Service.
func (d *deciding) read() {
	d.facts.Deployments = d.facts.placed()
	d.remember()
	d.blind, d.coming = d.facts.blind(d.facts.OtherDestinationRules, d.settings), d.facts.blindTo(d.settings)
	d.disturbances = d.facts.disturbances(d.blind, d.settings)
	if d.late = d.behind(); !d.late {
		d.leave()
		d.recast(d.state)
	}
}

// recast tells who plays which part, by what the release remembers.
func (d *deciding) recast(st release.State) {
	if !d.facts.Service.Missing {
		d.cast = d.facts.cast(st, d.settings)
	}
}

// step makes the next step of the Service's routes.
func (d *deciding) step() {
	if d.over() {
		d.retire()
	} else if d.ready() {
		d.route()
	} else {
		d.keepBypasses()
	}
}

// deciding holds what one call of Decide knows, step by step.
type deciding struct {
	facts    Facts
	settings Settings
	state    release.State   // what the VirtualService remembers
	subsets  release.Subsets // what the DestinationRule holds
	pinned   bool            // a VirtualService of ours exists
	// referenced are the versions whose subsets the VirtualService in the cluster refers to.
	referenced []string
	// blind are the clients that lack our subsets, coming those that will once the API server has done what it asks about.
	blind, coming []istio.Blind
	// disturbances are what others' objects do to the release.
	disturbances []intent.Problem
	// ended: some clients, who were led past the subsets, get them again.
	ended   bool
	cast    release.Cast
	traffic release.Traffic // what Envoy is asked to do after this decision
	// beside is what is decided about Facts.Beside. aside says that this is such a one, of which nothing is done: that is for the
	// reconcile of the other Service. late says that these facts are too old.
	beside      []*deciding
	aside, late bool
	out         Decision
}

// remember reads the state. Times that another clock put into the future count from now on where they are told anew; those of
// the routes are as good as none, because RoutesSince says when these were seen.
func (d *deciding) remember() {
	d.pinned, d.state = d.facts.pinned(), d.facts.state()
	if d.pinned {
		if d.state.PinnedAt.After(d.facts.Now) {
			d.state.PinnedAt = time.Time{}
		}
		for v, t := range d.state.Left {
			if t.After(d.facts.Now) {
				d.state.Left[v] = time.Time{}
			}
		}
		d.state.Bypasses = knownBypasses(d.state.Bypasses, d.facts.Now)
		d.traffic = d.state.Traffic
	}
	if dr := d.facts.DestinationRule; dr != nil {
		d.subsets, _ = istio.ReadSubsets(dr)
		for v, t := range d.subsets.Added {
			d.subsets.Added[v] = notAfter(t, d.facts.Now)
		}
		maps.DeleteFunc(d.subsets.Going, func(_ string, t time.Time) bool { return t.After(d.facts.Now) }) // told by another clock: told anew
	}
	if d.subsets.Added == nil {
		d.subsets.Added = map[string]time.Time{}
	}
	d.referenced = d.referencedVersions()
}

// referencedVersions reads the routes themselves: somebody may have edited them since the state was written.
func (d *deciding) referencedVersions() []string {
	if !d.pinned {
		return nil
	}
	subsets := istio.ReferencedSubsets(d.facts.VirtualService)
	known := slices.AppendSeq(d.state.Traffic.Versions(), maps.Keys(d.subsets.Added))
	known = slices.DeleteFunc(known, func(v string) bool { return !slices.Contains(subsets, istio.SubsetName(v)) })
	slices.Sort(known)
	return slices.Compact(known)
}

// behind: the routes were made from newer Deployments than these, by another replica of grayscale or by this one before
// its API server was restarted.
func (d *deciding) behind() bool {
	if d.state.Newest == "" || d.facts.Seen == "" {
		return false
	}
	// What is newer than the routes themselves was counted by another cluster, from which they were restored.
	if own, err := resourceversion.CompareResourceVersion(d.facts.VirtualService.ResourceVersion, d.state.Newest); err == nil && own < 0 {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(d.facts.Seen, d.state.Newest)
	return err == nil && order < 0
}

func notAfter(t, now time.Time) time.Time {
	if t.After(now) {
		return now
	}
	return t
}

// settled: what was written then has reached every Envoy. When istiod's pushes can be seen, only this changes.
func (d *deciding) settled(written time.Time) bool {
	return !d.facts.Now.Before(written.Add(d.settings.Settle))
}

// waitFor asks for another look when what was written then will have settled.
func (d *deciding) waitFor(written time.Time) {
	d.lookAfter(written.Add(d.settings.Settle).Sub(d.facts.Now))
}

func (d *deciding) lookAfter(wait time.Duration) {
	if wait > 0 && (d.out.After == 0 || wait < d.out.After) {
		d.out.After = wait
	}
}

// over: no candidate is left, and nobody who left the release still has pods that plain balancing would reach.
func (d *deciding) over() bool {
	f := d.facts
	if f.Service.Missing || f.Service.Deleting || f.IstioMissing {
		return false // routes go with their Service; without Istio there is nothing to remove
	}
	for _, c := range d.cast.Candidates {
		if d.present(c.Member()) {
			return false
		}
	}
	if !d.pinned {
		return true
	}
	if d.facts.standsIn(d.cast) && d.present(d.cast.Stable) {
		return false
	}
	return !slices.ContainsFunc(d.cast.Left, d.present) && !d.stray()
}

// present: the member has pods, or will have some.
func (d *deciding) present(m release.Member) bool {
	for _, x := range d.facts.Deployments {
		if x.Name == m.Deployment {
			return x.Replicas > 0 && !x.Deleting || release.TotalPods(x) > 0
		}
	}
	return false
}

// stray: pods of a deleted member are still on their way out.
func (d *deciding) stray() bool {
	for _, p := range d.facts.Strays {
		known := slices.ContainsFunc(d.state.Candidates, func(h release.Holder) bool { return h.Version == p.Version })
		_, left := d.state.Left[p.Version]
		if p.Total > 0 && (known || left) && p.Version != d.cast.Stable.Version {
			return true
		}
	}
	return false
}

// ready: there is a stable to pin, and an Istio and a Service to pin it with.
func (d *deciding) ready() bool {
	f := d.facts
	if f.Service.Missing || f.Service.Deleting || f.IstioMissing || d.cast.Stable.Deployment == "" {
		return false
	}
	if d.pinned {
		return true // the last good routes are kept safe whatever is wrong now
	}
	return slices.ContainsFunc(d.cast.Candidates, func(c release.Candidate) bool { return !c.Blocked() })
}
