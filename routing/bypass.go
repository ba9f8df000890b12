package routing

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
	"grayscale.dev/grayscale/routing/settle"
)

// bypasses are the clients to lead past the subsets from now on. Clients that need a bypass get it at once. It ends
// when no rule has hidden the subsets for long enough that every Envoy knows them, or when an announced rule does not
// come.
func (p *routePlan) bypasses() []release.Bypass {
	now := p.facts.Now
	known, next := map[string]release.Bypass{}, map[string]release.Bypass{}
	for _, b := range p.state.Bypasses {
		known[b.Key()] = b
	}
	begun := func(c release.Clients) release.Bypass {
		b, ok := known[c.Key()]
		if !ok {
			b = release.Bypass{Clients: c, Since: now}
		}
		return b
	}
	for _, c := range p.blind {
		b := begun(c.Clients)
		b.Announced, b.Gone = time.Time{}, time.Time{}
		next[b.Key()] = b
	}
	for _, c := range p.coming {
		if _, already := next[c.Key()]; already {
			continue
		}
		b := begun(c.Clients)
		if now.Sub(b.Announced) > settle.AnnouncedLimit/2 { // the API server asks again after a conflict; one write is enough
			b.Announced = now
		}
		b.Gone = time.Time{}
		next[b.Key()] = b
	}
	for key, b := range known {
		if _, needed := next[key]; needed {
			continue
		}
		if p.outlives(&b) {
			next[key] = b
		} else {
			p.bypassEnds = true
		}
	}
	return slices.SortedFunc(maps.Values(next), func(a, b release.Bypass) int { return strings.Compare(a.Key(), b.Key()) })
}

// outlives: no known rule hides the subsets from these clients now, but the bypass still lasts for a while.
func (p *routePlan) outlives(b *release.Bypass) bool {
	if !b.Announced.IsZero() {
		if left := p.settle.Announced(b.Announced); !left.Over() {
			p.wait(left)
			return true
		}
	}
	if b.Gone.IsZero() {
		b.Announced, b.Gone = time.Time{}, p.facts.Now
	}
	left := p.settle.Routes(b.Gone)
	p.wait(left)
	return !left.Over()
}

// keepBypasses writes the existing routes with the bypasses that are needed now, when nothing else about the routes can
// be decided.
func (p *routePlan) keepBypasses() {
	if !p.pinned || p.facts.Service.Missing || p.facts.Service.Deleting || p.missing || len(p.state.Traffic.Weights) == 0 {
		return
	}
	next := p.state
	if next.Bypasses = p.bypasses(); sameBypasses(next.Bypasses, p.state.Bypasses) {
		return
	}
	w := p.mesh.RenderRoutes(mesh.Rules(next.Traffic, next.Bypasses), next)
	p.routesWrite, p.next = &w, next
}

func sameBypasses(a, b []release.Bypass) bool {
	return slices.EqualFunc(a, b, func(x, y release.Bypass) bool {
		return x.Key() == y.Key() && x.Since.Equal(y.Since) && x.Announced.Equal(y.Announced) && x.Gone.Equal(y.Gone)
	})
}

// Bypassed returns how long it takes until every Envoy leads past the subsets those clients that will lack them, once
// the API server has made the change that it asks about. It is false if the given routes, which may have just been
// written, do not do so yet.
func (f Facts) Bypassed(routes mesh.Object, s Settings) (time.Duration, bool) {
	var longest settle.Left
	if !isOurs(routes) {
		return 0, true
	}
	x := readOne(f, nil, s)
	if !x.hasRule {
		return 0, false // without our subsets nobody knows from whom a rule will hide them
	}
	st, _ := mesh.ReadState(routes)
	for _, c := range x.coming {
		i := slices.IndexFunc(st.Bypasses, func(b release.Bypass) bool { return b.Key() == c.Key() })
		if i < 0 {
			return 0, false
		}
		longest = max(longest, x.settle.Routes(x.settle.Past(st.Bypasses[i].Since)))
	}
	return time.Duration(longest), true
}

func isOurs(routes mesh.Object) bool { return routes != nil && mesh.Ours(routes) }

// pastSubsets describes the clients that the routes lead past the subsets although no rule requires it any more, or not
// yet. It is empty if there are none.
func (p *routePlan) pastSubsets() string {
	list := p.state.Bypasses
	if p.routesWrite != nil {
		list = p.next.Bypasses
	}
	var who []string
	for _, b := range list {
		who = append(who, mesh.Describe(b.Clients))
	}
	if len(who) == 0 {
		return ""
	}
	return fmt.Sprintf("%s reach all pods of Service %s without the split for a moment,"+
		" because a DestinationRule that hides its subsets has been announced, or has just gone",
		strings.Join(who, " and "), p.service())
}
