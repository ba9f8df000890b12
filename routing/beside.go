package routing

import (
	"fmt"
	"slices"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
)

// exposes reports whether a candidate that is not released behind the Service would get requests of it all the same, unless it is
// pinned to stable: it has a cluster IP and a TCP port, and somebody else serves it or is released behind it. Where nobody is, there
// is nobody to pin it to: such a Service is the candidate's own.
func (f Facts) exposes(versions []*release.Version, r release.Roles) bool {
	plain := func(v *release.Version) bool { return f.Service.Selects(&v.Deployment) && v.IsPlain() }
	released := func(c *release.Candidate) bool { return !c.Beside }
	ready := func(p release.Pods) bool { return p.Ready > 0 }
	return istio.Routable(f.Service) && (r.Stable.Deployment != "" || slices.ContainsFunc(versions, plain) ||
		slices.ContainsFunc(r.Candidates, released) || slices.ContainsFunc(f.Strays, ready))
}

// withStableBeside are the roles, with the stables of another Service where this one has none of its own and is nobody's
// release. They have to be all that serve here, so that nobody loses what it has.
func (f Facts) withStableBeside(
	versions []*release.Version, r release.Roles, beside []release.Roles, st release.State, s Settings,
) release.Roles {
	agrees := func(b release.Roles) bool { return b.Stable == r.Stable }
	if r.Stable.Deployment != "" && (!f.standsIn(r) || slices.ContainsFunc(beside, agrees)) ||
		slices.ContainsFunc(r.Candidates, func(c *release.Candidate) bool { return !c.Beside }) {
		return r
	}
	behind := func(v *release.Version) bool { return f.Service.Selects(&v.Deployment) }
	for _, b := range beside {
		serves := func(v *release.Version) bool { return behind(v) && b.IsStable(v.Name) }
		another := func(v *release.Version) bool { return behind(v) && v.IsPlain() && !b.IsStable(v.Name) }
		if slices.ContainsFunc(versions, serves) && !slices.ContainsFunc(versions, another) {
			st.Stable, st.Also = b.Stable, b.Also
			return f.roles(versions, st, s)
		}
	}
	return r
}

// standsIn: stable is a candidate of other Services, which serves this one because the stable that there was is gone.
func (f Facts) standsIn(r release.Roles) bool {
	own := func(v *release.Version) bool { return !v.IsCandidate() || v.In(f.Service.Name) }
	return len(r.Stables) > 0 && !slices.ContainsFunc(r.Stables, own)
}

// told is what the owner of a candidate has to know: what is wrong with it, each thing once, and what others' objects do to its
// release, of each of its Services. Of those that only select its pods it is what keeps them from being pinned.
func told(v *release.Version, parts []part) (problems, disturbances []intent.Problem) {
	problems = slices.Clone(v.Problems)
	raw := slices.Clone(problems)
	for _, p := range parts {
		c := p.roles.Candidate(v.Name)
		if c == nil {
			continue
		}
		for _, problem := range c.Wrong {
			if !slices.Contains(raw, problem) {
				raw = append(raw, problem)
				problems = append(problems, p.said(c, problem)...)
			}
		}
		if c.Blocked() {
			continue
		}
		for _, problem := range p.disturbances {
			disturbances = append(disturbances, p.said(c, problem)...)
		}
	}
	return problems, disturbances
}

// part is one of the Services that select a candidate's pods.
type part struct {
	facts        Facts
	versions     []*release.Version
	roles        release.Roles
	disturbances []intent.Problem
}

// said is how a problem of a Service is told to a candidate. One that is not released behind it may wonder why it is told; to that
// nothing matters but what keeps the Service from being pinned.
func (p part) said(c *release.Candidate, problem intent.Problem) []intent.Problem {
	switch {
	case !c.Beside:
		return []intent.Problem{problem}
	case problem.Kind == intent.Unused:
		return nil
	case p.facts.exposes(p.versions, p.roles):
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
