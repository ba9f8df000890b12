package routing

import (
	"fmt"
	"slices"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

// exposes reports whether a candidate that is not released behind the Service would get requests of it all the same,
// unless it is pinned to stable: it has a cluster IP and a TCP port, and somebody else serves it or is released behind
// it. Where nobody is, there is nobody to pin it to: such a Service is the candidate's own.
func (x *situation) exposes() bool {
	plain := func(v *release.Version) bool { return x.behind(v) && v.IsPlain() }
	released := func(c *release.Candidate) bool { return !c.Beside }
	ready := func(p release.Pods) bool { return p.Ready > 0 }
	return x.mesh.Routable() && (x.roles.Stable.Deployment != "" || slices.ContainsFunc(x.versions, plain) ||
		slices.ContainsFunc(x.roles.Candidates, released) || slices.ContainsFunc(x.facts.Strays, ready))
}

func (x *situation) behind(v *release.Version) bool { return x.facts.Service.Selects(&v.Deployment) }

// takeStable takes over the stables of another Service where this one has none of its own and is nobody's release. They
// have to be all that serve here, so that nobody loses what it has.
func (x *situation) takeStable(beside []release.Roles, st release.State) {
	agrees := func(b release.Roles) bool { return b.Stable == x.roles.Stable }
	if x.roles.Stable.Deployment != "" && (!x.standsIn() || slices.ContainsFunc(beside, agrees)) ||
		slices.ContainsFunc(x.roles.Candidates, func(c *release.Candidate) bool { return !c.Beside }) {
		return
	}
	for _, b := range beside {
		serves := func(v *release.Version) bool { return x.behind(v) && b.IsStable(v.Name) }
		another := func(v *release.Version) bool { return x.behind(v) && v.IsPlain() && !b.IsStable(v.Name) }
		if slices.ContainsFunc(x.versions, serves) && !slices.ContainsFunc(x.versions, another) {
			st.Stable, st.Also = b.Stable, b.Also
			x.roles = x.assign(st)
			return
		}
	}
}

// standsIn: stable is a candidate of other Services, which serves this one because the stable that there was is gone.
func (x *situation) standsIn() bool {
	own := func(v *release.Version) bool { return !v.IsCandidate() || v.In(x.service()) }
	return len(x.roles.Stables) > 0 && !slices.ContainsFunc(x.roles.Stables, own)
}

// told is what the owner of a candidate has to know: what is wrong with it, each thing once, and what others' objects
// do to its release, of each of its Services. Of those that only select its pods it is what keeps them from being
// pinned.
func told(v *release.Version, around []*situation) (problems, disturbances []intent.Problem) {
	problems = slices.Clone(v.Problems)
	raw := slices.Clone(problems)
	for _, x := range around {
		c := x.roles.Candidate(v.Name)
		if c == nil {
			continue
		}
		for _, problem := range c.Wrong {
			if !slices.Contains(raw, problem) {
				raw = append(raw, problem)
				problems = append(problems, x.said(c, problem)...)
			}
		}
		if c.Blocked() {
			continue
		}
		for _, problem := range x.disturbances {
			disturbances = append(disturbances, x.said(c, problem)...)
		}
	}
	return problems, disturbances
}

// said is how a problem of a Service is told to a candidate. One that is not released behind it may wonder why it is
// told; to that nothing matters but what keeps the Service from being pinned.
func (x *situation) said(c *release.Candidate, problem intent.Problem) []intent.Problem {
	switch {
	case !c.Beside:
		return []intent.Problem{problem}
	case problem.Kind == intent.Unused:
		return nil
	case x.exposes():
		problem.Message = fmt.Sprintf("%s cannot be pinned to stable: %s", unnamed(x.facts.Service), problem.Message)
		return []intent.Problem{problem}
	case problem.Reason == mesh.ReasonUnroutableService:
		return []intent.Problem{{Kind: intent.Unused, Reason: problem.Reason,
			Message: fmt.Sprintf("%s cannot be pinned to stable, so that its clients reach the candidate's pods: %s",
				unnamed(x.facts.Service), problem.Message),
			Fix: "have its selector leave them out, if they are not to"}}
	}
	return nil
}

// unnamed is a Service that selects a candidate's pods while that does not say that it is released behind it.
func unnamed(s release.Service) string {
	return fmt.Sprintf("Service %s, which %s does not name,", s.Name, intent.KeyService)
}
