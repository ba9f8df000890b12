package release

import (
	"cmp"
	"slices"
	"strings"

	"grayscale.dev/grayscale/routing/intent"
)

// Roles is who plays which part behind one Service.
type Roles struct {
	// Stable is zero where nobody can be told to be stable. Of several that are stable together it is the first.
	Stable Member
	// Also names the others, which have the same version.
	Also []string
	// Stables are the Deployments of Stable and Also that are there.
	Stables []*Version
	// Candidates are sorted by age, the oldest first: the older one wins every conflict.
	Candidates []*Candidate
	// Left are members that have left the release but still exist: aborted, or stable before a promotion.
	Left []Member
	// Promoted is true where Stable was a candidate until now.
	Promoted bool
}

// Candidate is a Deployment that carries the strategy annotation beside another that is stable.
type Candidate struct {
	*Version
	// Followed is what the routes do for it: what it asks for, or the last good intent while it is paused or its
	// annotations are wrong. It is the zero Intent where there is none.
	Followed intent.Intent
	// Wrong holds everything that is wrong with it, the blocking problems and the merely unused.
	Wrong []intent.Problem
	// Beside: the Service selects its pods, but is none of those that it is released behind: it gets nothing there.
	Beside bool
}

// Around gives the problems that a candidate has with what surrounds it beside other Deployments: ports, hosts, rules.
// stable is zero where nobody is.
type Around func(candidate *Version, stable Member) []intent.Problem

// Assign tells who is stable and who is a candidate, and what each candidate's routes follow. st is what the
// release remembers, zero where there is none.
func Assign(s Service, versions []*Version, st State, around Around) Roles {
	byAge := slices.Clone(versions)
	slices.SortFunc(byAge, older)
	b := behind{s, byAge, st}
	r, unresolved := b.stable()
	for _, v := range byAge {
		if r.IsStable(v.Name) || !v.HasStrategy() || !v.IsCandidate() && (r.Stable.Deployment == "" || !v.In(s.Name)) {
			continue
		}
		others := slices.Concat(around(v, r.Stable), unresolved, b.versionTaken(v, r))
		r.Candidates = append(r.Candidates, b.candidate(v, r, others))
	}
	b.resolveWeights(r.Candidates)
	r.Left = b.left(r)
	return r
}

// behind is what roles are assigned from: the versions behind a Service, the oldest first, and what is remembered.
type behind struct {
	service Service
	byAge   []*Version
	state   State
}

func older(a, b *Version) int {
	return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), strings.Compare(a.Name, b.Name))
}

func (b behind) candidate(v *Version, r Roles, others []intent.Problem) *Candidate {
	c := &Candidate{Version: v, Followed: v.Intent, Beside: !v.In(b.service.Name)}
	c.Wrong = slices.Concat(v.Problems, others)
	if c.Beside {
		c.Followed = intent.Intent{Strategy: v.Intent.Strategy}
	} else {
		c.Wrong = append(c.Wrong, b.otherStable(v, r)...)
	}
	if c.Blocked() || v.Intent.Paused {
		c.Followed = b.state.lastGood(v.Name, v.Label)
	}
	return c
}

// left are those that the state remembers beside today's stable and candidates, as long as they exist. One with
// stable's version gets its traffic as before, and is no reason to stay pinned.
func (b behind) left(r Roles) []Member {
	var out []Member
	remembered := b.state.Stables()
	for _, g := range b.state.Candidates {
		remembered = append(remembered, g.Member)
	}
	for _, m := range remembered {
		exists := slices.ContainsFunc(b.byAge, func(v *Version) bool { return v.Name == m.Deployment })
		if exists && !r.IsStable(m.Deployment) && m.Version != r.Stable.Version && r.Candidate(m.Deployment) == nil &&
			!slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	return out
}

// Blocked reports whether something keeps the candidate from what it asks for.
func (c *Candidate) Blocked() bool {
	return slices.ContainsFunc(c.Wrong, func(p intent.Problem) bool { return p.Kind != intent.Unused })
}

// standing is the share that the candidate asks for of other Services, where it gets nothing of this one for that
// reason alone.
func (c *Candidate) standing() intent.Percent {
	if !c.Beside {
		return 0
	}
	return c.Intent.Share()
}

// Blocking are the problems that keep a candidate from what it asks for: all but those of kind Unused.
func Blocking(problems []intent.Problem) []intent.Problem {
	return slices.DeleteFunc(slices.Clone(problems), func(p intent.Problem) bool { return p.Kind == intent.Unused })
}

// IsStable reports whether the Deployment is stable, alone or together with others.
func (r Roles) IsStable(deployment string) bool {
	return isStable(stables(r.Stable, r.Also), deployment)
}

// Candidate is the role that a Deployment plays behind the Service; nil where it is none of its candidates.
func (r Roles) Candidate(deployment string) *Candidate {
	for _, c := range r.Candidates {
		if c.Name == deployment {
			return c
		}
	}
	return nil
}

// HasLeft reports whether the Deployment has left the release, and still exists.
func (r Roles) HasLeft(deployment string) bool {
	return slices.ContainsFunc(r.Left, func(m Member) bool { return m.Deployment == deployment })
}

// StableStays reports whether stable is there, and not about to end.
func (r Roles) StableStays() bool {
	return slices.ContainsFunc(r.Stables, func(v *Version) bool { return !v.IsLeaving() })
}

// StableServes reports whether what stays of stable has a ready pod.
func (r Roles) StableServes() bool {
	return slices.ContainsFunc(r.Stables, func(v *Version) bool { return !v.IsLeaving() && v.Ready(r.Stable.Version) > 0 })
}

// StableObjects names stable in messages.
func (r Roles) StableObjects(namespace string) string {
	var names []string
	for _, m := range stables(r.Stable, r.Also) {
		names = append(names, Object(namespace, m.Deployment))
	}
	return Enumerate(names)
}
