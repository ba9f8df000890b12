package routing

import (
	"fmt"
	"slices"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

// exposes reports whether a candidate that is not released behind the Service would still get its requests, unless the
// Service is pinned to stable. That is so if the Service has a cluster IP and a TCP port, and somebody else serves it
// or is released behind it. Otherwise there is nobody to pin it to: the Service is the candidate's own.
func (x *situation) exposes() bool {
	plain := func(v *release.Version) bool { return x.behind(v) && v.IsPlain() }
	released := func(c *release.Candidate) bool { return !c.Beside }
	ready := func(p release.Pods) bool { return p.Ready > 0 }
	return x.mesh.Routable() && (x.roles.Stable.Deployment != "" || slices.ContainsFunc(x.versions, plain) ||
		slices.ContainsFunc(x.roles.Candidates, released) || slices.ContainsFunc(x.facts.Strays, ready))
}

func (x *situation) behind(v *release.Version) bool { return x.facts.Service.Selects(&v.Deployment) }

// takeStable takes over the stables of another Service, if this one has none of its own and no candidate is released
// behind it. They must be all that serve this Service, so that nobody loses traffic.
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

// standsIn: stable is a candidate of other Services. It serves this one because the stable that it had is gone.
func (x *situation) standsIn() bool {
	own := func(v *release.Version) bool { return !v.IsCandidate() || v.In(x.service()) }
	return len(x.roles.Stables) > 0 && !slices.ContainsFunc(x.roles.Stables, own)
}

// problemsOf is what the owner of a candidate has to know: each problem of it once, and what the objects of others do
// to its release behind each of its Services. A Service that only selects its pods adds just what keeps it from being
// pinned.
func problemsOf(v *release.Version, around []*situation) (problems, disturbances []intent.Problem) {
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
				problems = append(problems, x.reworded(c, problem)...)
			}
		}
		if c.Blocked() {
			continue
		}
		for _, problem := range x.disturbances {
			disturbances = append(disturbances, x.reworded(c, problem)...)
		}
	}
	return problems, disturbances
}

// reworded is a problem of a Service as the owner of a candidate reads it. If the candidate is not released behind the
// Service, its owner needs to know only what keeps the Service from being pinned, and which Service that is.
func (x *situation) reworded(c *release.Candidate, problem intent.Problem) []intent.Problem {
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

// unnamed describes a Service that selects a candidate's pods but is not named in the candidate's annotation.
func unnamed(s release.Service) string {
	return fmt.Sprintf("Service %s, which %s does not name,", s.Name, intent.KeyService)
}
