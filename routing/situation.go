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

// situation is what follows from the facts about one Service by themselves, before anything is planned. Nothing changes
// it once it has been read.
type situation struct {
	facts    Facts
	settings Settings
	settle   settle.Settlement
	versions []*release.Version
	mesh     mesh.Backend
	routes   mesh.Routes     // ours in the cluster; of no use unless pinned
	rule     mesh.Subsets    // ours in the cluster; of no use unless hasRule
	state    release.State   // what the routes remember
	subsets  release.Subsets // what the rule remembers
	pinned   bool            // routes of ours exist
	hasRule  bool            // subsets of ours exist
	missing  bool            // the mesh is not installed
	// referenced are the versions whose subsets the routes in the cluster refer to.
	referenced []string
	// blind are the clients that lack our subsets, coming those that will once the API server has done what it asks about.
	blind, coming []mesh.Blind
	// hostProblems name the routes of others that clients follow in place of ours.
	hostProblems []intent.Problem
	// disturbances are what others' objects do to the release.
	disturbances []intent.Problem
	roles        release.Roles
	// leaves is how much longer an announced end may be in coming; zero where none is.
	leaves settle.Left
	// stale: newer facts than these have been acted on.
	stale bool
	// newer: a newer grayscale wrote the state of our objects, in a form that this one cannot read.
	newer  bool
	beside []*situation
}

// read tells what there is behind a Service and behind those beside it, and who plays which role: behind each by
// itself, and then with what the others say.
func read(f Facts, s Settings) *situation {
	own := readOne(f, f.versions(), s)
	all := []*situation{own}
	for _, b := range f.Beside {
		all = append(all, readOne(b, b.versions(), s))
	}
	followEachOther(all)
	own.stale = slices.ContainsFunc(all, func(x *situation) bool { return x.stale })
	return own
}

// followEachOther has each Service look at what the others say of the roles.
func followEachOther(all []*situation) {
	alone := make([]release.Roles, len(all))
	for n, x := range all {
		alone[n], x.beside = x.roles, without(all, n)
	}
	for n, x := range all {
		x.follow(without(alone, n))
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

// assign tells who plays which role, by what the release remembers.
func (x *situation) assign(st release.State) release.Roles {
	if x.facts.Service.Missing {
		return release.Roles{}
	}
	return x.findRoles(st)
}

// readRoutes reads the state, and brings its times into the past. Those that another clock put into the future count
// from now on where they are recorded anew; those of the routes are as good as none, because RoutesSince says when
// these were seen.
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
	maps.DeleteFunc(x.subsets.Going, future) // recorded by another clock: recorded anew
	if x.subsets.Added == nil {
		x.subsets.Added = map[string]time.Time{}
	}
}

// referencedVersions reads the routes themselves: somebody may have edited them since the state was written.
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
// before its API server was restarted.
func (x *situation) isStale() bool {
	if x.state.Newest == "" || x.facts.Seen == "" {
		return false
	}
	// What is newer than the routes themselves was counted by another cluster, from which they were restored.
	own := x.routes.Object.GetResourceVersion()
	return !olderVersion(own, x.state.Newest) && olderVersion(x.facts.Seen, x.state.Newest)
}

func olderVersion(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order < 0
}

// newerVersion is the later of two resourceVersions; one that cannot be read is none.
func newerVersion(a, b string) string {
	if a == "" || olderVersion(a, b) {
		return b
	}
	return a
}

// follow looks at those who have a role behind the Services beside, each by itself. A candidate of other Services,
// which got nothing here, may have become stable there. Where it replaced the one that is stable here as well, it does
// so here; elsewhere it is nobody's candidate any more, and plain balancing is right for it. And where no candidate is
// released behind this Service, and nobody can be told to be stable here, or only a candidate of others, which stands
// in for a stable that is gone, the one that is stable beside is it.
func (x *situation) follow(beside []release.Roles) {
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
		case g.Intent.Strategy != "": // at that moment, not later: two releases that follow each other would never rest
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

// version is that of a Deployment; nil where it is none behind the Service.
func (x *situation) version(deployment string) *release.Version {
	for _, v := range x.versions {
		if v.Name == deployment {
			return v
		}
	}
	return nil
}

// over: no candidate is left, and nobody who left the release still has pods that plain balancing would reach.
func (x *situation) over() bool {
	f := x.facts
	if f.Service.Missing || f.Service.Deleting || x.missing {
		return false // routes go with their Service; without Istio there is nothing to remove
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

// straysRemain: pods of a deleted member are still on their way out.
func (x *situation) straysRemain() bool {
	return slices.ContainsFunc(x.facts.Strays, func(p release.Pods) bool {
		known := slices.ContainsFunc(x.state.Candidates, func(g release.LastGood) bool { return g.Version == p.Version })
		_, left := x.state.Left[p.Version]
		return p.Total > 0 && (known || left) && p.Version != x.roles.Stable.Version
	})
}

// hasStrays: pods of the version are left of a Deployment that is gone.
func (x *situation) hasStrays(version string) bool {
	return slices.ContainsFunc(x.facts.Strays, func(p release.Pods) bool { return p.Version == version && p.Total > 0 })
}

// ready: there is a stable to pin, and an Istio and a Service to pin it with.
func (x *situation) ready() bool {
	f := x.facts
	if f.Service.Missing || f.Service.Deleting || x.missing || x.roles.Stable.Deployment == "" {
		return false
	}
	if x.pinned {
		return true // the last good routes are kept safe whatever is wrong now
	}
	return slices.ContainsFunc(x.roles.Candidates, func(c *release.Candidate) bool { return !c.Blocked() })
}

// members are those whose pods carry, or are to be given, their version's label.
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

// yields: another of the Deployment's Services comes first and looks after its label and annotations, so that two never
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

// ofService is something about one Service.
type ofService interface{ service() string }

func (x *situation) service() string { return x.facts.Service.Name }

// inOrder are those about the Services that the Deployment is released behind, in its order, then those about the ones
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

// usable: Envoy knows the version's subset and its endpoints, because routes refer to it already or because both have
// settled. Left is how long that takes where it is known.
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

// readySince is when the version got the first of the endpoints that it has; zero where it has none to wait for.
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

// inRule: the rule in the cluster really has the subset, whatever its annotation says.
func (x *situation) inRule(version string) bool { return x.hasRule && x.rule.Has(version) }
