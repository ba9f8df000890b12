package routing

import (
	"fmt"
	"slices"
	"time"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
)

// part is what is decided about one of the Deployment's Services; nil where that is not there.
func (d *deciding) part(service string) *deciding {
	if service == d.facts.Service.Name {
		return d
	}
	for _, b := range d.beside {
		if b.facts.Service.Name == service {
			return b
		}
	}
	return nil
}

// parts are those of all Services that the Deployment is released behind, in its order, then of those that select its pods beside.
func (d *deciding) parts(x release.Deployment) []*deciding {
	var out []*deciding
	for _, name := range slices.Concat(x.Placed.Services, x.Placed.Beside) {
		if p := d.part(name); p != nil {
			out = append(out, p)
		}
	}
	return out
}

// candidate is the part that a Deployment plays behind the Service; nil where it is none of its candidates.
func candidate(c release.Cast, deployment string) *release.Candidate {
	for i := range c.Candidates {
		if c.Candidates[i].Deployment.Name == deployment {
			return &c.Candidates[i]
		}
	}
	return nil
}

// exposes reports whether a candidate that is not released behind the Service would get requests of it all the same, unless it is
// pinned to stable: it has a cluster IP and a TCP port, and somebody else serves it or is released behind it. Where nobody is, there
// is nobody to pin it to: such a Service is the candidate's own.
func (f Facts) exposes(c release.Cast) bool {
	plain := func(x release.Deployment) bool { return release.Behind(f.Service, x) && release.IsPlain(x) }
	released := func(x release.Candidate) bool { return !x.Beside }
	ready := func(p release.Pods) bool { return p.Ready > 0 }
	return istio.Routable(f.Service) && (c.Stable.Deployment != "" || slices.ContainsFunc(f.Deployments, plain) ||
		slices.ContainsFunc(c.Candidates, released) || slices.ContainsFunc(f.Strays, ready))
}

// shields reports whether pods of the Deployment get no more requests of the Service than it asks for: routes say so, and have
// settled. until is since when it waits for them to settle; zero where that is not what it waits for.
func (d *deciding) shields(deployment string) (ok bool, until time.Time) {
	c := candidate(d.cast, deployment)
	switch {
	case d.cast.IsStable(deployment) || c != nil && c.Beside && !d.facts.exposes(d.cast):
		return true, time.Time{}
	case c == nil || c.Blocked() || !d.pinned || d.out.ApplyVirtualService != nil:
		return false, time.Time{}
	}
	if reason, _ := d.disturbed(*c); reason != "" {
		return false, time.Time{} // some clients do not follow the routes
	}
	pinned := latest(d.state.PinnedAt, d.facts.RoutesSince)
	return d.settled(pinned), pinned
}

// follow looks at those who play a part behind the Services beside, each as told by itself. A candidate of other Services, which got
// nothing here, may have become stable there. Where it replaced the one that is stable here as well, it does so here, and else it is
// nobody's candidate any more: plain balancing is right for it. And where no candidate is released behind this Service, and nobody
// can be told to be stable here, or only a candidate of others, which stands in for a stable that is gone, whoever is stable beside is it.
func (d *deciding) follow(beside []release.Cast) {
	next := d.state
	for _, h := range d.state.Candidates {
		x := d.deployment(h.Deployment)
		if !h.Beside || x == nil || release.IsCandidate(*x) {
			continue
		}
		promoted := slices.IndexFunc(beside, func(c release.Cast) bool { return c.Stable == h.Member })
		switch {
		case promoted < 0 || !x.Placed.In(d.beside[promoted].facts.Service.Name):
		case !slices.Contains(beside[promoted].Left, d.state.Stable):
			next.Candidates = slices.DeleteFunc(slices.Clone(next.Candidates), func(o release.Holder) bool { return o == h })
			d.recast(next)
		case h.Intent.Strategy != "": // at that moment, not later: two releases that follow each other would never come to rest
			next.Candidates = slices.Clone(next.Candidates)
			for _, m := range d.state.Stables() {
				next.Candidates = append(next.Candidates, release.Holder{Member: m})
			}
			next.Stable, next.Also = h.Member, nil
			d.recast(next)
			return
		}
	}
	d.cast = d.facts.withStableBeside(d.cast, beside, next, d.settings)
}

// withStableBeside is the cast, with the stables of another Service where it has none of its own and is nobody's release. They have
// to be all that serve here, so that nobody loses what it has.
func (f Facts) withStableBeside(c release.Cast, beside []release.Cast, st release.State, s Settings) release.Cast {
	agrees := func(b release.Cast) bool { return b.Stable == c.Stable }
	if c.Stable.Deployment != "" && (!f.standsIn(c) || slices.ContainsFunc(beside, agrees)) ||
		slices.ContainsFunc(c.Candidates, func(x release.Candidate) bool { return !x.Beside }) {
		return c
	}
	for _, b := range beside {
		serves := func(x release.Deployment) bool { return release.Behind(f.Service, x) && b.IsStable(x.Name) }
		another := func(x release.Deployment) bool {
			return release.Behind(f.Service, x) && release.IsPlain(x) && !b.IsStable(x.Name)
		}
		if slices.ContainsFunc(f.Deployments, serves) && !slices.ContainsFunc(f.Deployments, another) {
			st.Stable, st.Also = b.Stable, b.Also
			return f.cast(st, s)
		}
	}
	return c
}

// standsIn: stable is a candidate of other Services, which serves this one because the stable that there was is gone.
func (f Facts) standsIn(c release.Cast) bool {
	own := func(x *release.Deployment) bool { return !release.IsCandidate(*x) || x.Placed.In(f.Service.Name) }
	return len(c.Stables) > 0 && !slices.ContainsFunc(c.Stables, own)
}

// told is what the owner of a candidate has to know: what is wrong with it, each thing once, and what others' objects do to its
// release, of each of its Services. Of those that only select its pods it is what keeps them from being pinned.
func told(namespace string, x release.Deployment, parts []part) (problems, disturbances []intent.Problem) {
	problems = alone(namespace, x)
	raw := slices.Clone(problems)
	for _, p := range parts {
		c := candidate(p.cast, x.Name)
		if c == nil {
			continue
		}
		for _, problem := range c.Problems {
			if !slices.Contains(raw, problem) {
				raw = append(raw, problem)
				problems = append(problems, p.said(*c, problem)...)
			}
		}
		if c.Blocked() {
			continue
		}
		for _, problem := range p.disturbances {
			disturbances = append(disturbances, p.said(*c, problem)...)
		}
	}
	return problems, disturbances
}

// part is one of the Services that select a candidate's pods.
type part struct {
	facts        Facts
	cast         release.Cast
	disturbances []intent.Problem
}

// said is how a problem of a Service is told to a candidate. One that is not released behind it may wonder why it is told; to that
// nothing matters but what keeps the Service from being pinned.
func (p part) said(c release.Candidate, problem intent.Problem) []intent.Problem {
	switch {
	case !c.Beside:
		return []intent.Problem{problem}
	case problem.Kind == intent.Unused:
		return nil
	case p.facts.exposes(p.cast):
		problem.Message = fmt.Sprintf("%s cannot be pinned to stable: %s", unnamed(p.facts.Service), problem.Message)
		return []intent.Problem{problem}
	case problem.Reason == istio.ReasonUnroutableService:
		return []intent.Problem{{Kind: intent.Unused, Reason: problem.Reason,
			Message: fmt.Sprintf("%s cannot be pinned to stable, so that its clients reach the candidate's pods: %s", unnamed(p.facts.Service), problem.Message),
			Fix:     "have its selector leave them out, if they are not to"}}
	}
	return nil
}

// unnamed is a Service that selects a candidate's pods while that does not say that it is released behind it.
func unnamed(s release.Service) string {
	return fmt.Sprintf("Service %s, which %s does not name,", s.Name, intent.KeyService)
}
