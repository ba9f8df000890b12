package routing

import (
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/resourceversion"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
	"grayscale.dev/grayscale/routing/settle"
)

// situation is what the facts say about one Service, before anything is planned. It does not change once it has been
// read.
type situation struct {
	facts    Facts
	settings Settings
	settle   settle.Settlement
	versions []*release.Version
	mesh     mesh.Backend
	routes   mesh.Routes     // ours in the cluster; only valid if pinned
	rule     mesh.Subsets    // ours in the cluster; only valid if hasRule
	state    release.State   // recorded in the routes
	subsets  release.Subsets // recorded in the rule
	pinned   bool            // routes of ours exist
	hasRule  bool            // subsets of ours exist
	missing  bool            // the mesh is not installed
	// referenced are the versions whose subsets the routes in the cluster refer to.
	referenced []string
	// blind are the clients that lack our subsets. coming are those that will lack them once the API server has made the
	// change that it asks about.
	blind, coming []mesh.Blind
	// hostProblems name the routes of others that clients follow in place of ours.
	hostProblems []intent.Problem
	// disturbances are what objects of others do to the release.
	disturbances []intent.Problem
	roles        release.Roles
	// leaves is how long until the first announced end counts as refused; zero if none is announced.
	leaves settle.Left
	// stale: grayscale has already acted on newer facts than these.
	stale bool
	// newer: a newer grayscale wrote the state of our objects, in a form that this one cannot read.
	newer  bool
	beside []*situation
}

// read reads the facts about a Service and about those beside it, and assigns the roles: first behind each Service by
// itself, then with the roles behind the others.
func read(f Facts, s Settings) *situation {
	own := readOne(f, f.versions(), s)
	all := []*situation{own}
	for _, b := range f.Beside {
		all = append(all, readOne(b, b.versions(), s))
	}
	syncRoles(all)
	own.stale = slices.ContainsFunc(all, func(x *situation) bool { return x.stale })
	return own
}

// syncRoles adjusts the roles behind each Service to those behind the others.
func syncRoles(all []*situation) {
	alone := make([]release.Roles, len(all))
	for n, x := range all {
		alone[n], x.beside = x.roles, without(all, n)
	}
	for n, x := range all {
		x.syncWith(without(alone, n))
	}
}

func without[T any](list []T, n int) []T { return slices.Delete(slices.Clone(list), n, n+1) }

func readOne(f Facts, versions []*release.Version, s Settings) *situation {
	x := &situation{facts: f, settings: s, settle: f.settlement(s), versions: versions, mesh: f.backend(s)}
	x.missing = len(x.mesh.InstallProblems()) > 0
	x.readRoutes()
	x.readSubsets()
	x.newer = x.state.Schema > release.Schema || x.subsets.Schema > release.Schema
	x.referenced = x.referencedVersions()
	if x.hasRule {
		known := slices.Sorted(maps.Keys(x.subsets.Added))
		x.blind, x.coming = x.mesh.Blind(known), x.mesh.ComingBlind(known)
	}
	x.hostProblems = x.mesh.HostProblems()
	x.disturbances = x.findDisturbances()
	if x.stale = x.isStale(); !x.stale {
		x.readLeaving()
		x.roles = x.assign(x.state)
	}
	return x
}

// assign assigns the roles, given what the release remembers.
func (x *situation) assign(st release.State) release.Roles {
	if x.facts.Service.Missing {
		return release.Roles{}
	}
	return x.findRoles(st)
}

// readRoutes reads the state, and moves its times out of the future, where another clock may have put them. Times that
// are recorded again count from now on. Those of the routes become zero, because RoutesSince already says when these
// routes were first seen.
func (x *situation) readRoutes() {
	x.routes, x.pinned = x.mesh.Routes()
	x.state = x.routes.State
	now := x.facts.Now
	if x.state.PinnedAt.After(now) {
		x.state.PinnedAt = time.Time{}
	}
	for v, t := range x.state.Left {
		if t.After(now) {
			x.state.Left[v] = time.Time{}
		}
	}
	for i := range x.state.Bypasses {
		b := &x.state.Bypasses[i]
		b.Since, b.Announced, b.Gone = x.settle.Past(b.Since), x.settle.Past(b.Announced), x.settle.Past(b.Gone)
	}
}

func (x *situation) readSubsets() {
	x.rule, x.hasRule = x.mesh.Subsets()
	x.subsets = x.rule.State
	for v, t := range x.subsets.Added {
		x.subsets.Added[v] = x.settle.Past(t)
	}
	future := func(_ string, t time.Time) bool { return t.After(x.facts.Now) }
	maps.DeleteFunc(x.subsets.Going, future) // another clock wrote these; they are recorded again
	if x.subsets.Added == nil {
		x.subsets.Added = map[string]time.Time{}
	}
}

// referencedVersions are read from the routes themselves: somebody may have edited them since the state was written.
func (x *situation) referencedVersions() []string {
	if !x.pinned {
		return nil
	}
	known := slices.AppendSeq(x.state.Traffic.Versions(), maps.Keys(x.subsets.Added))
	known = slices.DeleteFunc(known, func(v string) bool { return !x.routes.Refers(v) })
	slices.Sort(known)
	return slices.Compact(known)
}

// isStale: the routes were made from newer Deployments than these, by another replica of grayscale or by this one
// before its API server restarted.
func (x *situation) isStale() bool {
	if x.state.Newest == "" || x.facts.Seen == "" {
		return false
	}
	// A Newest above the routes' own version was counted by another cluster, from which they were restored.
	own := x.routes.Object.GetResourceVersion()
	return !olderVersion(own, x.state.Newest) && olderVersion(x.facts.Seen, x.state.Newest)
}

func olderVersion(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order < 0
}

// newerVersion is the later of two resourceVersions; one that cannot be parsed does not count.
func newerVersion(a, b string) string {
	if a == "" || olderVersion(a, b) {
		return b
	}
	return a
}

// syncWith adjusts the roles to those behind the Services beside, each of which was read by itself. A candidate of
// other Services, which got nothing here, may have become stable there. If it replaced the Deployment that is stable
// here too, it becomes stable here. If not, it is no longer a candidate here, and plain balancing is right for it.
//
// If no candidate is released behind this Service, and its stable is unknown or only a candidate that stands in for a
// stable that is gone, it takes the stable of a Service beside.
func (x *situation) syncWith(beside []release.Roles) {
	next := x.state
	for _, g := range x.state.Candidates {
		v := x.version(g.Deployment)
		if !g.Beside || v == nil || v.IsCandidate() {
			continue
		}
		promoted := slices.IndexFunc(beside, func(r release.Roles) bool { return r.Stable == g.Member })
		switch {
		case promoted < 0 || !v.In(x.beside[promoted].facts.Service.Name):
		case !slices.Contains(beside[promoted].Left, x.state.Stable):
			next.Candidates = slices.DeleteFunc(slices.Clone(next.Candidates), func(o release.LastGood) bool { return o == g })
			x.roles = x.assign(next)
		case g.Intent.Strategy != "": // only at that moment: otherwise two releases would follow each other forever
			next.Candidates = slices.Clone(next.Candidates)
			for _, m := range x.state.Stables() {
				next.Candidates = append(next.Candidates, release.LastGood{Member: m})
			}
			next.Stable, next.Also = g.Member, nil
			x.roles = x.assign(next)
			return
		}
	}
	x.takeStable(beside, next)
}

// version is the Deployment's version; nil if it is not behind the Service.
func (x *situation) version(deployment string) *release.Version {
	for _, v := range x.versions {
		if v.Name == deployment {
			return v
		}
	}
	return nil
}

// over: no candidate is left, and no Deployment that left the release still has pods that plain balancing would reach.
func (x *situation) over() bool {
	f := x.facts
	if f.Service.Missing || f.Service.Deleting || x.missing {
		return false // routes go with their Service; without a mesh there is nothing to remove
	}
	if slices.ContainsFunc(x.roles.Candidates, func(c *release.Candidate) bool { return c.Present() }) {
		return false
	}
	if !x.pinned {
		return true
	}
	if x.standsIn() && x.present(x.roles.Stable) {
		return false
	}
	return !slices.ContainsFunc(x.roles.Left, x.present) && !x.straysRemain()
}

func (x *situation) present(m release.Member) bool {
	v := x.version(m.Deployment)
	return v != nil && v.Present()
}

// straysRemain: pods of a deleted member are still terminating.
func (x *situation) straysRemain() bool {
	return slices.ContainsFunc(x.facts.Strays, func(p release.Pods) bool {
		known := slices.ContainsFunc(x.state.Candidates, func(g release.LastGood) bool { return g.Version == p.Version })
		_, left := x.state.Left[p.Version]
		return p.Total > 0 && (known || left) && p.Version != x.roles.Stable.Version
	})
}

// hasStrays: a Deployment of the version is gone, but some of its pods remain.
func (x *situation) hasStrays(version string) bool {
	return slices.ContainsFunc(x.facts.Strays, func(p release.Pods) bool { return p.Version == version && p.Total > 0 })
}

// ready: there is a stable to pin, and a mesh and a Service to pin it with.
func (x *situation) ready() bool {
	f := x.facts
	if f.Service.Missing || f.Service.Deleting || x.missing || x.roles.Stable.Deployment == "" {
		return false
	}
	if x.pinned {
		return true // the last good routes are kept up whatever is wrong now
	}
	return slices.ContainsFunc(x.roles.Candidates, func(c *release.Candidate) bool { return !c.Blocked() })
}

// members are the Deployments whose pods have, or are to get, the label of their version.
func (x *situation) members() []release.Member {
	if x.over() || !x.ready() {
		return nil
	}
	var out []release.Member
	for _, v := range x.roles.Stables {
		out = append(out, release.Member{Deployment: v.Name, Version: x.roles.Stable.Version})
	}
	for _, c := range x.roles.Candidates {
		if !c.Blocked() && c.Label != "" {
			out = append(out, c.Member())
		}
	}
	return out
}

// yields: another Service of the Deployment comes first and manages its label and annotations, so that two never
// disagree.
func (x *situation) yields(v *release.Version) bool {
	for _, o := range inOrder(v, append([]*situation{x}, x.beside...)) {
		if o == x {
			return false
		}
		if slices.ContainsFunc(o.members(), func(m release.Member) bool { return m.Deployment == v.Name }) {
			return true
		}
	}
	return false
}

type ofService interface{ service() string }

func (x *situation) service() string { return x.facts.Service.Name }

// inOrder returns the entries for the Services that the Deployment is released behind, in its order, then for those
// that only select its pods.
func inOrder[T ofService](v *release.Version, all []T) []T {
	var out []T
	for _, name := range slices.Concat(v.Placed.Services, v.Placed.Beside) {
		if i := slices.IndexFunc(all, func(o T) bool { return o.service() == name }); i >= 0 {
			out = append(out, all[i])
		}
	}
	return out
}

// usable: Envoy knows the subset of the version and its endpoints, because routes already refer to it or because both
// have settled. Left is how long that takes, if known.
func (x *situation) usable(version string) (bool, settle.Left) {
	if !x.inRule(version) {
		return false, 0
	}
	if slices.Contains(x.referenced, version) {
		return true, 0
	}
	added, ok := x.subsets.Added[version]
	if _, going := x.subsets.Going[version]; going {
		return false, 0 // the mark comes off first
	}
	left := max(x.settle.Subsets(added), x.settle.Endpoints(x.readySince(version)))
	return ok && left.Over(), left
}

// readySince is when the first of the version's current endpoints became ready; zero if it has none.
func (x *situation) readySince(version string) time.Time {
	first, found := time.Time{}, false
	for _, v := range x.versions {
		for _, p := range v.Pods {
			if p.Version == version && p.Ready > 0 && (!found || p.Since.Before(first)) {
				first, found = p.Since, true
			}
		}
	}
	return x.settle.Past(first)
}

// inRule: the rule in the cluster really has the subset, whatever its state says.
func (x *situation) inRule(version string) bool { return x.hasRule && x.rule.Has(version) }
