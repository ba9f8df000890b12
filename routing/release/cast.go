package release

import (
	"fmt"
	"slices"

	"grayscale.dev/grayscale/routing/intent"
)

// Candidate is a Deployment that carries the strategy annotation beside another that is stable.
type Candidate struct {
	Deployment Deployment
	// Version is the label its pods carry; empty where none can be told.
	Version string
	// Asked is what its annotations say, Followed what the routes do for it: the last good intent while it is paused
	// or its annotations are wrong, the zero Intent where there is none.
	Asked, Followed intent.Intent
	// Problems hold everything that is wrong with it, the blocking ones and the merely unused.
	Problems []intent.Problem
	// Beside: the Service selects its pods, but is none of those that it is released behind: it gets nothing there.
	Beside bool
}

// Blocked reports whether something keeps the candidate from what it asks for.
func (c Candidate) Blocked() bool { return len(Blocking(c.Problems)) > 0 }

// Member is the candidate's place in the State.
func (c Candidate) Member() Member { return Member{c.Deployment.Name, c.Version} }

// standing is the share that the candidate asks for of other Services, where it gets nothing of this one for that reason alone.
func (c Candidate) standing() intent.Percent {
	if !c.Beside {
		return 0
	}
	return c.Asked.Share()
}

// Blocking are the problems that keep a candidate from what it asks for: all but those of kind Unused.
func Blocking(problems []intent.Problem) []intent.Problem {
	return slices.DeleteFunc(slices.Clone(problems), func(p intent.Problem) bool { return p.Kind == intent.Unused })
}

// Cast is who plays which part behind one Service.
type Cast struct {
	// Stable is zero where nobody can be told to be stable. Of several that are stable together it is the first.
	Stable Member
	// Also names the others, which have the same version.
	Also []string
	// Stables are the Deployments of Stable and Also that are there.
	Stables []*Deployment
	// Candidates are sorted by age, the oldest first: the older one wins every conflict.
	Candidates []Candidate
	// Left are members that have left the release but still exist: aborted, or stable before a promotion.
	Left []Member
	// Promoted is true where Stable was a candidate until now.
	Promoted bool
}

// IsStable reports whether the Deployment is stable, alone or together with others.
func (c Cast) IsStable(deployment string) bool {
	return isStable(stables(c.Stable, c.Also), deployment)
}

// StableStays reports whether stable is there, and not about to end.
func (c Cast) StableStays() bool {
	return slices.ContainsFunc(c.Stables, func(d *Deployment) bool { return !leaving(*d) })
}

// StableServes reports whether what stays of stable has a ready pod.
func (c Cast) StableServes() bool {
	return slices.ContainsFunc(c.Stables, func(d *Deployment) bool { return !leaving(*d) && d.Ready(c.Stable.Version) > 0 })
}

// StableObjects names stable in messages.
func (c Cast) StableObjects(namespace string) string {
	var names []string
	for _, m := range stables(c.Stable, c.Also) {
		names = append(names, Object(namespace, m.Deployment))
	}
	return Enumerate(names)
}

// Around gives the problems that a candidate has with what surrounds it beside other Deployments: ports, hosts, rules.
// stable is zero where nobody is.
type Around func(candidate Deployment, stable Member) []intent.Problem

// Assign tells who is stable and who is a candidate, and what each candidate's routes follow. st is what the
// release remembers, zero where there is none.
func Assign(s Service, deployments []Deployment, st State, around Around) Cast {
	byAge := slices.Clone(deployments)
	slices.SortFunc(byAge, older)
	var c Cast
	var unresolved []intent.Problem
	var stable []Member
	stable, c.Promoted, unresolved = stableOf(s, byAge, st)
	for n, m := range stable {
		if n == 0 {
			c.Stable = m
		} else {
			c.Also = append(c.Also, m.Deployment)
		}
		c.Stables = append(c.Stables, pick(byAge, func(d Deployment) bool { return d.Name == m.Deployment })...)
	}
	for _, d := range byAge {
		if c.IsStable(d.Name) || !hasStrategy(d) || !IsCandidate(d) && (c.Stable.Deployment == "" || !d.Placed.In(s.Name)) {
			continue
		}
		problems := slices.Concat(around(d, c.Stable), unresolved, versionTaken(s, d, byAge, c, st))
		c.Candidates = append(c.Candidates, candidate(s, d, byAge, c, st, problems))
	}
	resolveWeights(s, c.Candidates, st)
	c.Left = leftMembers(c, byAge, st)
	return c
}

func older(a, b Deployment) int {
	if c := a.CreatedAt.Compare(b.CreatedAt); c != 0 {
		return c
	}
	if a.Name < b.Name {
		return -1
	}
	return 1
}

func candidate(s Service, d Deployment, byAge []Deployment, c Cast, st State, blocked []intent.Problem) Candidate {
	asked, problems := intent.Parse(Object(s.Namespace, d.Name), d.Annotations)
	version, more := VersionOf(s.Namespace, s.Name, d)
	problems = slices.Concat(problems, d.Placed.Problems, more, blocked)
	out := Candidate{Deployment: d, Version: version, Asked: asked, Followed: asked, Problems: problems, Beside: !d.Placed.In(s.Name)}
	if out.Beside {
		out.Followed = intent.Intent{Strategy: asked.Strategy}
	} else {
		out.Problems = append(out.Problems, otherStable(s, d, byAge, c)...)
	}
	if out.Blocked() || asked.Paused {
		out.Followed = lastGood(st, d.Name, version)
	}
	return out
}

// lastGood is the recorded intent of a Deployment under the version it was recorded with: another version has no past.
func lastGood(st State, deployment, version string) intent.Intent {
	for _, h := range st.Candidates {
		if h.Deployment == deployment && h.Version == version {
			return h.Intent
		}
	}
	return intent.Intent{}
}

// Follows reports whether the routes have followed the annotations of a Deployment under the version.
func (st State) Follows(deployment, version string) bool {
	return lastGood(st, deployment, version).Strategy != ""
}

// versionTaken: stable has the version, or another candidate that has been followed under it, else an older one.
func versionTaken(s Service, d Deployment, byAge []Deployment, c Cast, st State) []intent.Problem {
	version, _ := VersionOf(s.Namespace, s.Name, d)
	holder := ""
	if c.Stable.Deployment != "" && c.Stable.Version == version {
		holder = c.Stable.Deployment
	}
	followed := func(d Deployment) bool { return st.Follows(d.Name, version) }
	for _, o := range byAge {
		if v, _ := VersionOf(s.Namespace, s.Name, o); v != version || o.Name == d.Name || c.IsStable(o.Name) || !hasStrategy(o) {
			continue
		}
		if followed(o) && !followed(d) || followed(o) == followed(d) && older(o, d) < 0 {
			holder = o.Name
		}
	}
	if holder == "" || version == "" {
		return nil
	}
	return []intent.Problem{{Key: intent.KeyVersion, Kind: intent.Conflict, Reason: ReasonVersionConflict,
		Message: fmt.Sprintf("%s has version %q, which is that of %s behind Service %s already",
			Object(s.Namespace, d.Name), version, Object(s.Namespace, holder), s.Name),
		Fix: fmt.Sprintf("set %s and the pod template's version label to another value", intent.KeyVersion)}}
}

// otherStable: the candidate names somebody else than those that are stable. Of several, some may be gone by now.
func otherStable(s Service, d Deployment, byAge []Deployment, c Cast) []intent.Problem {
	named := intent.Stables(d.Annotations)
	if len(named) == 0 || c.Stable.Deployment == "" {
		return nil
	}
	wrong := slices.DeleteFunc(slices.Clone(named), c.IsStable)
	if len(wrong) < len(named) {
		wrong = slices.DeleteFunc(wrong, func(name string) bool {
			return !slices.ContainsFunc(byAge, func(o Deployment) bool { return o.Name == name && (o.Replicas > 0 || TotalPods(o) > 0) })
		})
	}
	if len(wrong) == 0 {
		return nil
	}
	other := slices.DeleteFunc(slices.Clone(wrong), func(name string) bool {
		return slices.ContainsFunc(byAge, func(o Deployment) bool {
			version, _ := VersionOf(s.Namespace, s.Name, o)
			return o.Name == name && version == c.Stable.Version
		})
	})
	if len(other) > 0 {
		wrong = other
	}
	verb := "is"
	if len(c.Also) > 0 {
		verb = "are"
	}
	right := intent.JoinNames(append([]string{c.Stable.Deployment}, c.Also...))
	return []intent.Problem{{Key: intent.KeyStable, Kind: intent.Conflict, Reason: ReasonStableConflict,
		Message: fmt.Sprintf("%s names %q in %s, but %s %s stable behind Service %s, as version %q",
			Object(s.Namespace, d.Name), intent.JoinNames(wrong), intent.KeyStable, c.StableObjects(s.Namespace), verb, s.Name, c.Stable.Version),
		Fix: fmt.Sprintf("name %q, or finish its release first; only Deployments with the same version label are stable together", right)}}
}

// resolveWeights lets the older candidates have what they ask for while it adds up to no more than 100; a younger one
// that goes over keeps its last good share where that fits, else none.
func resolveWeights(s Service, candidates []Candidate, st State) {
	var sum intent.Percent
	for i := range candidates {
		c := &candidates[i]
		if ask := c.Followed.Share(); sum+ask > intent.Hundred {
			c.Problems = append(c.Problems, weightConflict(s, *c, intent.Hundred-sum))
			c.Followed = lastGood(st, c.Deployment.Name, c.Version)
			if sum+c.Followed.Share() > intent.Hundred {
				c.Followed = intent.Intent{}
			}
		}
		sum += c.Followed.Share()
	}
}

func weightConflict(s Service, c Candidate, rest intent.Percent) intent.Problem {
	p := intent.Problem{Key: intent.KeyWeight, Kind: intent.Conflict, Reason: ReasonWeightConflict,
		Message: fmt.Sprintf("%s asks for %s of Service %s, but older candidates leave it %s",
			Object(s.Namespace, c.Deployment.Name), c.Followed.Share(), s.Name, rest),
		Fix: "lower one of the weights, so that all candidates' together are at most 100"}
	if c.Followed.Strategy == intent.BlueGreen {
		p.Key, p.Fix = intent.KeyActive, fmt.Sprintf(`set %s to "false", or take the older candidates' shares away first`, intent.KeyActive)
	}
	return p
}

// leftMembers: whoever the state remembers beside today's stable and candidates, as long as it exists. Who has stable's version gets
// its traffic as before, and is no reason to stay pinned.
func leftMembers(c Cast, deployments []Deployment, st State) []Member {
	var out []Member
	keep := func(m Member) {
		if m.Deployment == "" || c.IsStable(m.Deployment) || m.Version == c.Stable.Version || slices.Contains(out, m) {
			return
		}
		exists := slices.ContainsFunc(deployments, func(d Deployment) bool { return d.Name == m.Deployment })
		if exists && !slices.ContainsFunc(c.Candidates, func(x Candidate) bool { return x.Deployment.Name == m.Deployment }) {
			out = append(out, m)
		}
	}
	for _, m := range st.Stables() {
		keep(m)
	}
	for _, h := range st.Candidates {
		keep(h.Member)
	}
	return out
}
