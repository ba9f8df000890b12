package routing

import (
	"fmt"
	"slices"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
	"grayscale.dev/grayscale/routing/settle"
)

// unserved: no version that the routes lead to has a ready pod. The routes stay so if nobody else may take the traffic:
// any other version would be just as wrong, and the first version to become ready again serves at once.
func (p *routePlan) unserved() bool {
	serves := func(w release.Weight) bool {
		return slices.ContainsFunc(p.versions, func(v *release.Version) bool { return v.Ready(w.Version) > 0 })
	}
	return p.pinned && len(p.traffic.Weights) > 0 && !slices.ContainsFunc(p.traffic.Weights, serves)
}

// noReadyPods says what it means that the candidate has no ready pods: no traffic, or failing traffic if nobody else
// may take it.
func (p *routePlan) noReadyPods(c *release.Candidate) string {
	s, name := p.facts.Service, release.Object(p.facts.Service.Namespace, c.Name)
	text := fmt.Sprintf("no pod of %s is ready as version %s", name, c.Label)
	share := release.ShareOf(p.traffic.Weights, c.Label)
	switch {
	case !p.unserved():
		text += ": it gets no traffic of Service " + s.Name
	case share > 0:
		text += fmt.Sprintf(": the %s of Service %s that it gets fails, because nobody else may take it: %s",
			share, s.Name, p.stableLacks())
	default:
		text += fmt.Sprintf(": it gets no traffic, and all traffic of Service %s fails: %s", s.Name, p.stableLacks())
	}
	if c.Replicas == 0 {
		text += "; it has zero replicas"
	}
	if pausedByUser(c.Version) {
		text += "; " + resume(s.Namespace, c.Version)
	}
	if c.ReplicaFailure != "" {
		text += "; Kubernetes cannot create its pods: " + c.ReplicaFailure
	}
	if c.DeadlineExceeded {
		text += "; its progressDeadlineSeconds have passed (see its condition Progressing and its pods' events)"
	}
	switch {
	case !p.unserved():
	case c.Followed.Share() > 0 || !p.roles.StableStays():
		text += "; traffic goes by itself to the first of them that has a ready pod"
	default:
		text += "; make pods of stable ready"
	}
	return text
}

// stableLacks says why stable cannot take any traffic.
func (p *routePlan) stableLacks() string {
	name, all := p.roles.StableObjects(p.facts.Service.Namespace), p.roles.Stables
	each := func(is func(v *release.Version) bool) bool {
		return !slices.ContainsFunc(all, func(v *release.Version) bool { return !is(v) })
	}
	switch {
	case len(all) == 0:
		return fmt.Sprintf("stable %s is gone", name)
	case each(func(v *release.Version) bool { return v.Replicas == 0 }):
		return fmt.Sprintf("stable %s has zero replicas", name)
	case each(func(v *release.Version) bool { return v.Deleting }):
		return fmt.Sprintf("stable %s is being deleted", name)
	}
	text := fmt.Sprintf("no pod of stable %s is ready as version %s", name, p.roles.Stable.Version)
	for _, v := range all {
		if pausedByUser(v) {
			text += "; " + resume(p.facts.Service.Namespace, v)
		}
	}
	return text
}

// pausedByUser: neither the webhook nor an adoption set spec.paused.
func pausedByUser(v *release.Version) bool {
	return v.SpecPaused && !v.IsHeld() && !v.IsBeingAdopted()
}

func resume(namespace string, v *release.Version) string {
	return fmt.Sprintf(
		"%s has spec.paused: true, which grayscale did not set: kubectl -n %s rollout resume deployment/%s",
		release.Object(namespace, v.Name), namespace, v.Name)
}

// idle warns the owner of a candidate that could serve but gets no traffic, while the traffic of stable fails.
func (p *routePlan) idle(c *release.Candidate) []intent.Problem {
	if !p.unserved() || c.Serving() == 0 {
		return nil
	}
	return []intent.Problem{{Kind: intent.Unused, Reason: ReasonNoReadyPods,
		Message: fmt.Sprintf("Traffic of Service %s fails, because %s", p.facts.Service.Name, p.stableLacks()),
		Fix:     "make pods of stable ready, or " + c.Intent.Strategy.TakeTraffic(c.Label)}}
}

// leavingText says what happens to the traffic of a candidate whose end is announced.
func (p *routePlan) leavingText(c *release.Candidate) string {
	if release.ShareOf(p.traffic.Weights, c.Label) > 0 {
		return "it is about to be deleted or scaled to zero, and keeps its traffic until its last pod ends," +
			" because nobody else may take it: " + p.stableLacks()
	}
	return fmt.Sprintf("it is about to be deleted or scaled to zero: its traffic has gone,"+
		" and comes back where neither happens within %s", settle.AnnouncedLimit)
}
