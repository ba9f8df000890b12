package routing

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/resourceversion"

	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
)

// route makes the next step of make-before-break: the DestinationRule grows, settles, the VirtualService moves,
// settles, the DestinationRule shrinks and holds are lifted. Several of these may be due at once; none waits for nothing.
func (d *deciding) route() {
	d.label()
	traffic, ok := release.Share(d.cast, d.usable)
	told := len(traffic.Weights) > 0 && (ok || !d.pinned) && d.mayPin()
	if told {
		d.traffic = traffic
	}
	d.growRule()
	if told {
		d.writeRoutes()
	} else {
		d.keepBypasses()
	}
}

// label adopts stable and candidates: pods that lack the version label get it without a restart.
func (d *deciding) label() {
	for _, m := range d.members() {
		if x := d.deployment(m.Deployment); !x.Deleting && unlabelled(*x, m.Version) && !d.yields(*x) {
			d.out.Label = append(d.out.Label, m)
		}
	}
}

// members are those whose pods carry, or are to be given, their version's label.
func (d *deciding) members() []release.Member {
	var out []release.Member
	if d.over() || !d.ready() {
		return nil
	}
	for _, x := range d.cast.Stables {
		out = append(out, release.Member{Deployment: x.Name, Version: d.cast.Stable.Version})
	}
	for _, c := range d.cast.Candidates {
		if !c.Blocked() && c.Version != "" {
			out = append(out, c.Member())
		}
	}
	return out
}

// yields: another of the Deployment's Services comes first and looks after its label and marks, so that two never disagree.
func (d *deciding) yields(x release.Deployment) bool {
	for _, p := range d.parts(x) {
		if p == d {
			return false
		}
		if slices.ContainsFunc(p.members(), func(m release.Member) bool { return m.Deployment == x.Name }) {
			return true
		}
	}
	return false
}

func unlabelled(x release.Deployment, version string) bool {
	without := slices.ContainsFunc(x.Pods, func(p release.Pods) bool { return p.Version == "" && p.Total > 0 })
	return x.TemplateLabels[release.VersionLabel] != version || without
}

func (d *deciding) deployment(name string) *release.Deployment {
	for i := range d.facts.Deployments {
		if d.facts.Deployments[i].Name == name {
			return &d.facts.Deployments[i]
		}
	}
	return nil
}

// usable: Envoy knows the version's subset and its endpoints, because routes refer to it already or because both have settled.
func (d *deciding) usable(version string) bool {
	if !d.inRule(version) {
		return false
	}
	if slices.Contains(d.referenced, version) {
		return true
	}
	added, ok := d.subsets.Added[version]
	if _, going := d.subsets.Going[version]; going {
		return false // the mark comes off first
	}
	since := latest(latest(added, d.facts.RuleSince), d.readySince(version))
	d.waitFor(since)
	return ok && d.settled(since)
}

// readySince is when the version got the first of the endpoints that it has; zero where it has none to wait for.
func (d *deciding) readySince(version string) time.Time {
	first, found := time.Time{}, false
	for _, x := range d.facts.Deployments {
		for _, p := range x.Pods {
			if p.Version == version && p.Ready > 0 && (!found || p.Since.Before(first)) {
				first, found = p.Since, true
			}
		}
	}
	return notAfter(first, d.facts.Now)
}

// inRule: the DestinationRule in the cluster really has the subset, whatever its annotation says.
func (d *deciding) inRule(version string) bool {
	return d.facts.DestinationRule != nil && istio.HasSubset(d.facts.DestinationRule, version)
}

// growRule adds the subsets that are missing and removes those that nothing has routed to for long enough.
func (d *deciding) growRule() {
	want := release.Subsets{Added: map[string]time.Time{}, Going: map[string]time.Time{}}
	needed := d.neededVersions()
	for v := range d.subsets.Added {
		if !slices.Contains(needed, v) && d.keepFor(v, want.Going) {
			needed = append(needed, v)
		}
	}
	for _, v := range needed {
		want.Added[v] = d.facts.Now
		if t, ok := d.subsets.Added[v]; ok && d.inRule(v) {
			want.Added[v] = t
		}
	}
	rule := istio.DestinationRule(d.facts.Service, d.settings.ClusterDomain, want,
		d.facts.OtherDestinationRules, d.settings.RootNamespace, d.facts.DestinationRule)
	if d.facts.DestinationRule == nil || !istio.EqualDestinationRule(d.facts.DestinationRule, rule) {
		d.out.ApplyDestinationRule = rule
	}
	for _, t := range want.Added {
		d.waitFor(latest(t, d.facts.RuleSince))
	}
}

// keepFor a while a subset that nobody needs any more: it is marked as going, and goes once that, and the routes without it,
// have settled.
func (d *deciding) keepFor(version string, going map[string]time.Time) bool {
	left := latest(latest(d.state.Left[version], d.state.PinnedAt), d.facts.RoutesSince)
	if !d.pinned { // somebody may have removed the routes a moment ago
		d.waitFor(left)
		return true
	}
	marked, ok := d.subsets.Going[version]
	if !ok {
		marked = d.facts.Now
	}
	since := latest(left, latest(marked, d.facts.RuleSince))
	if d.settled(since) {
		return false
	}
	going[version] = marked
	d.waitFor(since)
	return true
}

// neededVersions: those of stable and of every candidate, and those that routes refer to or are about to.
func (d *deciding) neededVersions() []string {
	versions := append(slices.Concat(d.referenced, d.traffic.Versions()), d.cast.Stable.Version)
	for _, c := range d.cast.Candidates {
		if c.Version != "" && (!c.Blocked() || c.Followed.Strategy != "") {
			versions = append(versions, c.Version)
		}
	}
	return versions
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// mayPin: the first VirtualService waits until the users' rules that there are have settled, until no ready pod of stable would
// be left out of its subset, and until stable serves, where anybody does: plain balancing finds the others.
func (d *deciding) mayPin() bool {
	if d.pinned || len(d.cast.Stables) == 0 {
		return d.pinned
	}
	if !d.settled(d.facts.OtherRulesSince) { // a rule that hid our subsets from clients may have gone a moment ago
		d.waitFor(d.facts.OtherRulesSince)
		return false
	}
	version := d.cast.Stable.Version
	unlike := func(p release.Pods) bool { return p.Ready > 0 && p.Version != version }
	if slices.ContainsFunc(d.cast.Stables, func(x *release.Deployment) bool { return slices.ContainsFunc(x.Pods, unlike) }) {
		return false
	}
	serves := func(x release.Deployment) bool {
		return slices.ContainsFunc(x.Pods, func(p release.Pods) bool { return p.Ready > 0 })
	}
	ready := func(x *release.Deployment) bool { return x.Ready(version) > 0 }
	return slices.ContainsFunc(d.cast.Stables, ready) || !slices.ContainsFunc(d.facts.Deployments, serves)
}

// confirm asks for a look past the caches where what is written of one derived object rests on what the other says. What is
// written first needs none: the resourceVersion that it was decided from guards it, and everything after it. A bypass ends
// where the users' rules let it, and ours is merged with others, which are looked at past the caches as well.
func (d *deciding) confirm() {
	dr, before := d.out.ApplyDestinationRule, d.facts.DestinationRule
	merges := dr != nil && before != nil && !slices.Equal(dr.Spec.ExportTo, before.Spec.ExportTo)
	d.out.Confirm.OtherRules = merges || d.ended && d.out.ApplyVirtualService != nil
	if d.crossing() {
		d.out.Confirm.DestinationRule = d.out.ApplyDestinationRule == nil
		d.out.Confirm.VirtualService = d.out.ApplyDestinationRule != nil || d.out.ApplyVirtualService == nil
	}
}

// crossing: a write rests on another object than it changes: routes begin to refer to a subset; a subset, or the rule, goes,
// or comes back without those that nothing is known to refer to; all subsets are marked as going because there are no routes,
// which by the time they go could be true anew; or a hold is lifted because there are routes.
func (d *deciding) crossing() bool {
	if vs := d.out.ApplyVirtualService; vs != nil {
		before := []string{}
		if d.pinned {
			before = istio.ReferencedSubsets(d.facts.VirtualService)
		}
		for _, s := range istio.ReferencedSubsets(vs) {
			if !slices.Contains(before, s) {
				return true
			}
		}
	}
	if dr, before := d.out.ApplyDestinationRule, d.facts.DestinationRule; dr != nil {
		goes := func(s string) bool { return !slices.Contains(istio.Subsets(dr), s) }
		if before == nil || slices.ContainsFunc(istio.Subsets(before), goes) || !d.pinned && d.over() {
			return true
		}
	}
	return d.out.DeleteDestinationRule || d.pinned && len(d.out.Lift) > 0
}

// writeRoutes writes the VirtualService where it does not say what it should.
func (d *deciding) writeRoutes() {
	state := d.nextState()
	current := d.facts.VirtualService
	vs := istio.VirtualService(d.facts.Service, d.settings.ClusterDomain, d.traffic, state, current)
	if current != nil && istio.EqualVirtualService(current, vs) {
		d.waitFor(latest(state.PinnedAt, d.facts.RoutesSince))
		return
	}
	state.Newest = newer(state.Newest, d.facts.Newest)
	maps.DeleteFunc(state.Left, func(v string, _ time.Time) bool { return !d.inRule(v) && !d.hasStrays(v) })
	istio.Remember(vs, state)
	d.out.ApplyVirtualService = vs
	d.out.After = d.settings.Settle
	d.announce(state)
}

// newer is the later of two resourceVersions; one that cannot be read is none.
func newer(a, b string) string {
	if order, err := resourceversion.CompareResourceVersion(a, b); a == "" || err == nil && order < 0 {
		return b
	}
	return a
}

// nextState is what to remember next to the traffic.
func (d *deciding) nextState() release.State {
	next := release.State{Stable: d.cast.Stable, Also: d.cast.Also, PinnedAt: d.state.PinnedAt, Traffic: d.traffic, Left: maps.Clone(d.state.Left),
		Newest: d.state.Newest, Leaving: d.leaving(), Bypasses: d.bypasses()}
	if !d.pinned || next.PinnedAt.IsZero() {
		next.PinnedAt = d.facts.Now
	}
	for _, c := range d.cast.Candidates {
		next.Candidates = append(next.Candidates, release.Holder{Member: c.Member(), Intent: c.Followed.Routes(), Beside: c.Beside})
	}
	for _, m := range d.cast.Left {
		h := holderOf(d.state, m.Deployment)
		next.Candidates = append(next.Candidates, release.Holder{Member: m, Beside: h != nil && h.Member == m && h.Beside})
	}
	slices.SortFunc(next.Candidates, func(a, b release.Holder) int { return strings.Compare(a.Deployment, b.Deployment) })
	d.noteLeft(&next)
	return next
}

// noteLeft records which versions the routes in the cluster refer to and the new ones no longer do, and those whose Deployment is
// gone before its pods are, also where routes never led to them: they are to be found by nobody, until they have gone.
func (d *deciding) noteLeft(next *release.State) {
	served := d.traffic.Versions()
	left := slices.DeleteFunc(slices.Clone(d.referenced), func(v string) bool { return slices.Contains(served, v) })
	for _, h := range d.state.Candidates {
		_, known := next.Left[h.Version]
		if !known && d.deployment(h.Deployment) == nil && d.hasStrays(h.Version) {
			left = append(left, h.Version)
		}
	}
	for _, v := range left {
		if next.Left == nil {
			next.Left = map[string]time.Time{}
		}
		next.Left[v] = d.facts.Now
	}
	for _, v := range served {
		delete(next.Left, v)
	}
}

// hasStrays: pods of the version are left of a Deployment that is gone.
func (d *deciding) hasStrays(version string) bool {
	return slices.ContainsFunc(d.facts.Strays, func(p release.Pods) bool { return p.Version == version && p.Total > 0 })
}

// lift ends the holds of candidates whose pods are shielded, those that the owner gave up with the strategy, and adoptions that were
// cut short and that nobody wants any more.
func (d *deciding) lift() {
	for _, x := range d.facts.Deployments {
		if x.Placed.Author != d.facts.Service.Name {
			continue
		}
		switch {
		case release.IsHeld(x) && !release.IsCandidate(x), release.IsBeingAdopted(x) && !d.adopts(x):
			d.out.Lift = append(d.out.Lift, x.Name)
		case release.IsHeld(x) && d.shielded(x):
			d.out.Lift = append(d.out.Lift, x.Name)
			d.announceLift(x)
		}
	}
}

// adopts: the Deployment is to be labelled, by whichever of its Services.
func (d *deciding) adopts(x release.Deployment) bool {
	return slices.ContainsFunc(d.parts(x), func(p *deciding) bool {
		return slices.ContainsFunc(p.out.Label, func(m release.Member) bool { return m.Deployment == x.Name })
	})
}

// shielded: every Service that selects the Deployment's pods sends them what they ask for and no more.
func (d *deciding) shielded(x release.Deployment) bool {
	all, relied := len(d.parts(x)) > 0, []string{}
	for _, p := range d.parts(x) {
		ok, until := p.shields(x.Name)
		if all = all && ok; !ok && !until.IsZero() {
			d.waitFor(until)
		}
		if p.aside && p.pinned {
			relied = append(relied, p.facts.Service.Name)
		}
	}
	if all {
		d.out.Confirm.Beside = slices.Compact(slices.Sorted(slices.Values(append(relied, d.out.Confirm.Beside...))))
	}
	return all
}

// retire removes the derived objects: VirtualService, settle, DestinationRule. No trace stays.
func (d *deciding) retire() {
	dr := d.facts.DestinationRule
	switch {
	case d.pinned && d.toBeMarkedPromoted():
		// The mark comes first: once the routes are gone, nothing else tells that this one is no candidate any more.
	case d.pinned:
		if len(d.subsets.Going) > 0 && d.unrouted() { // somebody took the routes for gone; they go only now
			d.markRule(time.Time{})
		}
		d.out.DeleteVirtualService = true
		d.event(d.cast.Stable.Deployment, eventNormal, "Finished",
			fmt.Sprintf("version %s alone is behind Service %s: its routes are removed", d.cast.Stable.Version, d.facts.Service.Name))
		d.traffic = release.Traffic{}
		d.out.After = d.settings.Settle
	case dr == nil:
	case !d.unrouted():
		d.markRule(d.facts.Now)
		d.out.After = d.settings.Settle
	default:
		since := d.facts.RuleSince
		for _, marked := range d.subsets.Going {
			since = latest(since, marked)
		}
		d.out.DeleteDestinationRule = d.settled(since)
		d.waitFor(since)
	}
}

// unrouted: all subsets of the rule are marked as going.
func (d *deciding) unrouted() bool {
	for v := range d.subsets.Added {
		if _, going := d.subsets.Going[v]; !going {
			return false
		}
	}
	return true
}

// markRule marks all subsets of the rule as going, or none where the time is zero.
func (d *deciding) markRule(going time.Time) {
	marked := release.Subsets{Added: d.subsets.Added, Going: map[string]time.Time{}}
	for v := range d.subsets.Added {
		if !going.IsZero() {
			marked.Going[v] = going
		}
	}
	d.out.ApplyDestinationRule = istio.DestinationRule(d.facts.Service, d.settings.ClusterDomain, marked,
		d.facts.OtherDestinationRules, d.settings.RootNamespace, d.facts.DestinationRule)
}
