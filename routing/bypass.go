package routing

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
	"grayscale.dev/grayscale/routing/settle"
)

// blindTo are the clients that will lack our subsets once the API server has done what it asks about.
func (f Facts) blindTo(s Settings) []istio.Blind {
	if f.ComingDestinationRules == nil {
		return nil
	}
	return f.blind(f.ComingDestinationRules, s)
}

// blind are the clients that lack our subsets, because beside these rules of others Istio shows them another one than ours.
func (f Facts) blind(rules []*networkingv1.DestinationRule, s Settings) []istio.Blind {
	dr := f.DestinationRule
	if dr == nil || !istio.OursRule(dr) || f.Service.Missing {
		return nil
	}
	sub, _ := istio.ReadSubsets(dr)
	return istio.BlindClients(f.Service, s.ClusterDomain, dr, rules, s.RootNamespace, slices.Sorted(maps.Keys(sub.Added)))
}

// bypasses are the clients to lead past the subsets from now on. One that needs it gets it at once. It loses it again once
// no rule has taken the subsets from it for long enough that every Envoy knows them, or where an announced rule
// does not come.
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
		if now.Sub(b.Announced) > settle.AnnouncedLimit/2 { // the API server asks again after a conflict: one write is enough
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

// outlives: nothing that is known takes the subsets from these clients, and the bypass lasts all the same for a while.
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

// keepBypasses writes the routes that there are with the bypasses that are needed now, for when nothing else can be told
// of them.
func (p *routePlan) keepBypasses() {
	f := p.facts
	if !p.pinned || f.Service.Missing || f.Service.Deleting || f.IstioMissing || len(p.state.Traffic.Weights) == 0 {
		return
	}
	next := p.state
	if next.Bypasses = p.bypasses(); sameBypasses(next.Bypasses, p.state.Bypasses) {
		return
	}
	p.next = next
	p.routesWrite = istio.VirtualService(f.Service, p.settings.ClusterDomain, next.Traffic, next, f.VirtualService)
}

func sameBypasses(a, b []release.Bypass) bool {
	return slices.EqualFunc(a, b, func(x, y release.Bypass) bool {
		return x.Key() == y.Key() && x.Since.Equal(y.Since) && x.Announced.Equal(y.Announced) && x.Gone.Equal(y.Gone)
	})
}

// Bypassed tells how long it takes until every Envoy leads those clients past the subsets who will lack them once the API
// server has done what it asks about; false where the routes do not do so yet.
func (f Facts) Bypassed(vs *networkingv1.VirtualService, s Settings) (time.Duration, bool) {
	var longest settle.Left
	if vs == nil || !istio.Ours(vs) {
		return 0, true
	}
	if f.DestinationRule == nil {
		return 0, false // nobody can tell whom a rule hides it from
	}
	st, _ := istio.ReadState(vs)
	now := f.settlement(s)
	for _, c := range f.blindTo(s) {
		i := slices.IndexFunc(st.Bypasses, func(b release.Bypass) bool { return b.Key() == c.Key() })
		if i < 0 {
			return 0, false
		}
		longest = max(longest, now.Routes(now.Past(st.Bypasses[i].Since)))
	}
	return time.Duration(longest), true
}

// disturbances are what others' objects do to a release that lasts. They keep no candidate in it from what it asks for: the
// owner of another namespace must not be able to stop an abort.
func (f Facts) disturbances(blind []istio.Blind, s Settings) []intent.Problem {
	var out []intent.Problem
	for _, b := range blind {
		out = append(out, blindProblem(f.Service, b))
	}
	return append(out, f.hostTaken(s)...)
}

func blindProblem(s release.Service, b istio.Blind) intent.Problem {
	p := intent.Problem{Kind: intent.Conflict, Reason: istio.ReasonRuleConflict,
		Message: fmt.Sprintf("DestinationRule %s hides the subsets of the release from %s: they reach all pods of Service %s, without the split",
			strings.Join(b.Rules, " and "), described(b.Clients), s.Name),
		Fix: fmt.Sprintf("delete it, or write what it says into a rule for host %s in namespace %s, without workloadSelector and exportTo", s.Name, s.Namespace)}
	if len(b.Rules) == 0 {
		p.Message = fmt.Sprintf("DestinationRule %s/%s was edited: %s lack its subsets, and reach all pods of Service %s", s.Namespace, istio.Name(s.Name), described(b.Clients), s.Name)
		p.Fix = "leave it alone; grayscale puts it back"
	}
	return p
}

func described(c release.Clients) string {
	switch {
	case c.Everybody():
		return "all clients"
	case len(c.Labels) == 0:
		return "clients in namespace " + c.Namespace
	}
	var pairs []string
	for _, k := range slices.Sorted(maps.Keys(c.Labels)) {
		pairs = append(pairs, k+"="+c.Labels[k])
	}
	return fmt.Sprintf("clients in namespace %s with labels %s", c.Namespace, strings.Join(pairs, ","))
}

// pastSubsets says which clients the routes lead past the subsets although no rule asks for it any more, or yet; empty for
// none.
func (p *routePlan) pastSubsets() string {
	list := p.state.Bypasses
	if p.routesWrite != nil {
		list = p.next.Bypasses
	}
	var who []string
	for _, b := range list {
		who = append(who, described(b.Clients))
	}
	if len(who) == 0 {
		return ""
	}
	return fmt.Sprintf("%s reach all pods of Service %s without the split for a moment, because a DestinationRule that hides its subsets has been announced, or has just gone",
		strings.Join(who, " and "), p.facts.Service.Name)
}
