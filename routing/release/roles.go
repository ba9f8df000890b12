package release

import (
	"cmp"
	"slices"
	"strings"

	"grayscale.dev/grayscale/routing/intent"
)

// Roles says which Deployment has which role behind one Service.
type Roles struct {
	// Stable is the stable Deployment, or the first of several that are stable together. It is zero if none can be
	// determined.
	Stable Member
	// Also names the others that are stable, all of the same version.
	Also []string
	// Stables are the Deployments of Stable and Also that exist.
	Stables []*Version
	// Candidates are sorted by age, the oldest first: the older one wins a conflict.
	Candidates []*Candidate
	// Left are members that have left the release but still exist: they were aborted, or were stable before a
	// promotion.
	Left []Member
	// Promoted is true if Stable was a candidate until now.
	Promoted bool
}

// Candidate is a Deployment with the strategy annotation that is not stable.
type Candidate struct {
	*Version
	// Followed is the intent that its routes follow: the one in its annotations, or the last good one while it is
	// paused or has blocking problems. It is zero if there is none.
	Followed intent.Intent
	// Wrong holds everything that is wrong with it: the problems that block it, and those of kind Unused.
	Wrong []intent.Problem
	// Beside: the Service selects its pods, but the candidate is released behind other Services. It gets no traffic
	// here.
	Beside bool
}

// Around returns the problems that a candidate has with everything but other Deployments: ports, hosts, rules. stable
// is zero if there is none.
type Around func(candidate *Version, stable Member) []intent.Problem

// Assign decides which Deployments are stable and which are candidates, and which intent each candidate's routes
// follow. st is what the release remembers; zero if there is no release yet.
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

// behind is what roles are assigned from: the versions behind a Service, the oldest first, and what the release
// remembers.
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

// left are the remembered Deployments that still exist and are neither stable nor candidates now. One that has stable's
// version does not count: it gets traffic as before, so it is no reason to stay pinned.
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

// Blocked reports whether a problem keeps the candidate from what it asks for.
func (c *Candidate) Blocked() bool {
	return slices.ContainsFunc(c.Wrong, func(p intent.Problem) bool { return p.Kind != intent.Unused })
}

// standing is the share that the candidate asks for behind its own Services, if it is Beside here; else zero.
func (c *Candidate) standing() intent.Percent {
	if !c.Beside {
		return 0
	}
	return c.Intent.Share()
}

// Blocking returns the problems that keep a candidate from what it asks for: all but those of kind Unused.
func Blocking(problems []intent.Problem) []intent.Problem {
	return slices.DeleteFunc(slices.Clone(problems), func(p intent.Problem) bool { return p.Kind == intent.Unused })
}

// IsStable reports whether the Deployment is stable, alone or together with others.
func (r Roles) IsStable(deployment string) bool {
	return isStable(stables(r.Stable, r.Also), deployment)
}

// Candidate finds the candidate with this name; nil if the Deployment is not a candidate here.
func (r Roles) Candidate(deployment string) *Candidate {
	for _, c := range r.Candidates {
		if c.Name == deployment {
			return c
		}
	}
	return nil
}

// HasLeft reports whether the Deployment has left the release but still exists.
func (r Roles) HasLeft(deployment string) bool {
	return slices.ContainsFunc(r.Left, func(m Member) bool { return m.Deployment == deployment })
}

// StableStays reports whether a stable Deployment exists that is not about to end.
func (r Roles) StableStays() bool {
	return slices.ContainsFunc(r.Stables, func(v *Version) bool { return !v.IsLeaving() })
}

// StableServes reports whether a stable Deployment that is not about to end has a ready pod.
func (r Roles) StableServes() bool {
	return slices.ContainsFunc(r.Stables, func(v *Version) bool { return !v.IsLeaving() && v.Ready(r.Stable.Version) > 0 })
}

// StableObjects names the stable Deployments in messages.
func (r Roles) StableObjects(namespace string) string {
	var names []string
	for _, m := range stables(r.Stable, r.Also) {
		names = append(names, Object(namespace, m.Deployment))
	}
	return Enumerate(names)
}
