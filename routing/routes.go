package routing

import (
	"maps"
	"slices"
	"strings"
	"time"

	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
	"grayscale.dev/grayscale/routing/settle"
)

// routePlan is the plan for the routes of one Service.
type routePlan struct {
	*situation
	traffic release.Traffic // what Envoy is to do once the plan is done
	label   []release.Member
	// subsetsWrite and routesWrite are the objects to write; nil if the cluster has them so already. next is the state
	// that the written routes record.
	subsetsWrite, routesWrite *mesh.Write
	next                      release.State
	// moves: the write of the routes gives versions their traffic; it does not only change who is led past the subsets.
	moves bool
	// bypassEnds: some clients that were led past the subsets use them again.
	bypassEnds                  bool
	deleteRoutes, deleteSubsets bool
	after                       time.Duration
}

func planRoutes(x *situation) *routePlan {
	p := &routePlan{situation: x, traffic: x.state.Traffic}
	p.wait(x.leaves)
	switch {
	case x.newer: // the state cannot be read, so the routes stay exactly as they are
	case x.over():
		p.cleanUp()
	case x.ready():
		p.route()
	default:
		p.keepBypasses()
	}
	return p
}

// wait makes the next decision due once this time is over, unless an earlier one is due.
func (p *routePlan) wait(left settle.Left) {
	if wait := time.Duration(left); wait > 0 && (p.after == 0 || wait < p.after) {
		p.after = wait
	}
}

// route plans the next step of make-before-break: the subsets grow, settle, the routes move, settle, the subsets shrink
// and holds are lifted. Several of these may be due at once; no step waits longer than it must.
func (p *routePlan) route() {
	for _, m := range p.members() {
		if v := p.version(m.Deployment); !v.Deleting && unlabelled(v, m.Version) && !p.yields(v) {
			p.label = append(p.label, m)
		}
	}
	traffic, ok := release.Share(p.roles, func(version string) bool {
		usable, left := p.usable(version)
		p.wait(left)
		return usable
	})
	decided := len(traffic.Weights) > 0 && (ok || !p.pinned) && p.mayPin()
	if decided {
		p.traffic = traffic
	}
	p.growSubsets()
	if decided {
		p.writeRoutes()
	} else {
		p.keepBypasses()
	}
}

// unlabelled: the template, or a pod, lacks the version label.
func unlabelled(v *release.Version, version string) bool {
	without := slices.ContainsFunc(v.Pods, func(p release.Pods) bool { return p.Version == "" && p.Total > 0 })
	return v.TemplateLabels[release.VersionLabel] != version || without
}

// mayPin: there are routes already, or the first ones may be written. These wait until the rules of users have settled
// and until no ready pod of stable would be missing from its subset. If any version has ready pods, they also wait
// until stable has some: until then plain balancing finds the others.
func (p *routePlan) mayPin() bool {
	if p.pinned || len(p.roles.Stables) == 0 {
		return p.pinned
	}
	if left := p.settle.OtherRules(); !left.Over() { // a rule that hid our subsets may have gone a moment ago
		p.wait(left)
		return false
	}
	version := p.roles.Stable.Version
	unlike := func(o release.Pods) bool { return o.Ready > 0 && o.Version != version }
	if slices.ContainsFunc(p.roles.Stables, func(v *release.Version) bool { return slices.ContainsFunc(v.Pods, unlike) }) {
		return false
	}
	ready := func(v *release.Version) bool { return v.Ready(version) > 0 }
	return slices.ContainsFunc(p.roles.Stables, ready) || !slices.ContainsFunc(p.versions, (*release.Version).AnyReady)
}

// growSubsets adds the missing subsets, and removes those that no routes have referred to for long enough.
func (p *routePlan) growSubsets() {
	want := release.Subsets{Added: map[string]time.Time{}, Going: map[string]time.Time{}}
	needed := p.neededVersions()
	for v := range p.subsets.Added {
		if !slices.Contains(needed, v) && p.keepSubset(v, want.Going) {
			needed = append(needed, v)
		}
	}
	for _, v := range needed {
		want.Added[v] = p.facts.Now
		if t, ok := p.subsets.Added[v]; ok && p.inRule(v) {
			want.Added[v] = t
		}
	}
	if w := p.mesh.RenderSubsets(want); !w.Same {
		p.subsetsWrite = &w
	}
	for _, t := range want.Added {
		p.wait(p.settle.Subsets(t))
	}
}

// keepSubset reports whether a subset that is no longer needed stays for now. It is marked as going, and goes once the
// mark, and the routes without it, have settled.
func (p *routePlan) keepSubset(version string, going map[string]time.Time) bool {
	left := p.settle.Routes(settle.Latest(p.state.Left[version], p.state.PinnedAt))
	if !p.pinned { // somebody may have removed the routes a moment ago
		p.wait(left)
		return true
	}
	marked, ok := p.subsets.Going[version]
	if !ok {
		marked = p.facts.Now
	}
	if left = max(left, p.settle.Subsets(marked)); left.Over() {
		return false
	}
	going[version] = marked
	p.wait(left)
	return true
}

// neededVersions are the versions of stable and of every candidate, and those that routes refer to now or will after
// this plan.
func (p *routePlan) neededVersions() []string {
	versions := append(slices.Concat(p.referenced, p.traffic.Versions()), p.roles.Stable.Version)
	for _, c := range p.roles.Candidates {
		if c.Label != "" && (!c.Blocked() || c.Followed.Strategy != "") {
			versions = append(versions, c.Label)
		}
	}
	return versions
}

// writeRoutes plans the write of the routes if the cluster has others.
func (p *routePlan) writeRoutes() {
	next := p.nextState()
	w := p.mesh.RenderRoutes(mesh.Rules(p.traffic, next.Bypasses), next)
	if w.Same {
		p.wait(p.settle.Routes(next.PinnedAt))
		return
	}
	next.Newest = newerVersion(next.Newest, p.facts.Newest)
	maps.DeleteFunc(next.Left, func(v string, _ time.Time) bool { return !p.inRule(v) && !p.hasStrays(v) })
	mesh.Remember(w.Object, next)
	p.routesWrite, p.next, p.moves = &w, next, true
	p.after = p.settings.Settle // everything else that is waited for is checked again then
}

// nextState is the state to record with the traffic.
func (p *routePlan) nextState() release.State {
	next := release.State{Stable: p.roles.Stable, Also: p.roles.Also, PinnedAt: p.state.PinnedAt, Traffic: p.traffic,
		Left: maps.Clone(p.state.Left), Newest: p.state.Newest, Leaving: p.leaving(), Bypasses: p.bypasses()}
	if !p.pinned || next.PinnedAt.IsZero() {
		next.PinnedAt = p.facts.Now
	}
	for _, c := range p.roles.Candidates {
		next.Candidates = append(next.Candidates,
			release.LastGood{Member: c.Member(), Intent: c.Followed.Routes(), Beside: c.Beside})
	}
	for _, m := range p.roles.Left {
		g, _ := p.state.Known(m.Deployment)
		next.Candidates = append(next.Candidates, release.LastGood{Member: m, Beside: g.Member == m && g.Beside})
	}
	slices.SortFunc(next.Candidates, func(a, b release.LastGood) int {
		return strings.Compare(a.Deployment, b.Deployment)
	})
	p.noteLeft(&next)
	return next
}

// noteLeft records the versions that the routes in the cluster refer to but the new ones do not. It also records
// versions whose Deployment is gone before its pods, even if routes never led to them: no request must reach those pods
// until they are gone.
func (p *routePlan) noteLeft(next *release.State) {
	served := p.traffic.Versions()
	left := slices.DeleteFunc(slices.Clone(p.referenced), func(v string) bool { return slices.Contains(served, v) })
	for _, g := range p.state.Candidates {
		_, known := next.Left[g.Version]
		if !known && p.version(g.Deployment) == nil && p.hasStrays(g.Version) {
			left = append(left, g.Version)
		}
	}
	for _, v := range left {
		if next.Left == nil {
			next.Left = map[string]time.Time{}
		}
		next.Left[v] = p.facts.Now
	}
	for _, v := range served {
		delete(next.Left, v)
	}
}

// cleanUp removes the derived objects: first the routes; once that has settled, the subsets. Nothing stays behind.
func (p *routePlan) cleanUp() {
	switch {
	case p.pinned && p.toBeMarkedPromoted():
		// The mark comes first: without the routes, only the mark shows that this one is no longer a candidate.
	case p.pinned:
		if len(p.subsets.Going) > 0 && p.allGoing() { // the routes seemed to be gone already; they go only now
			p.markSubsets(time.Time{})
		}
		p.deleteRoutes, p.traffic = true, release.Traffic{}
		p.after = p.settings.Settle
	case !p.hasRule:
	case !p.allGoing():
		p.markSubsets(p.facts.Now)
		p.after = p.settings.Settle
	default:
		left := p.settle.Subsets(settle.Latest(time.Time{}, slices.Collect(maps.Values(p.subsets.Going))...))
		p.deleteSubsets = left.Over()
		p.wait(left)
	}
}

func (p *routePlan) allGoing() bool {
	for v := range p.subsets.Added {
		if _, going := p.subsets.Going[v]; !going {
			return false
		}
	}
	return true
}

// markSubsets marks all subsets as going; a zero time takes the marks off.
func (p *routePlan) markSubsets(going time.Time) {
	marked := release.Subsets{Added: p.subsets.Added, Going: map[string]time.Time{}}
	for v := range p.subsets.Added {
		if !going.IsZero() {
			marked.Going[v] = going
		}
	}
	w := p.mesh.RenderSubsets(marked)
	p.subsetsWrite = &w
}

// shields reports whether pods of the Deployment get no more of the Service's requests than it asks for: the routes say
// so, and have settled. Left is how long that takes if the routes are written.
func (p *routePlan) shields(deployment string) (bool, settle.Left) {
	c := p.roles.Candidate(deployment)
	switch {
	case p.newer:
		return false, 0
	case p.roles.IsStable(deployment) || c != nil && c.Beside && !p.exposes():
		return true, 0
	case c == nil || c.Blocked() || !p.pinned || p.routesWrite != nil:
		return false, 0
	}
	if reason, _ := p.disturbed(c); reason != "" {
		return false, 0 // some clients do not follow the routes
	}
	left := p.settle.Routes(p.state.PinnedAt)
	return left.Over(), left
}
