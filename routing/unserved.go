package routing

import (
	"fmt"
	"slices"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// unserved: no version that the routes lead to has a ready pod. They stay so where nobody else may take the traffic, because any
// other way would be as wrong, and the first version that is ready again is right at once.
func (d *deciding) unserved() bool {
	serves := func(w release.Weight) bool {
		return slices.ContainsFunc(d.facts.Deployments, func(x release.Deployment) bool { return x.Ready(w.Version) > 0 })
	}
	return d.pinned && len(d.traffic.Weights) > 0 && !slices.ContainsFunc(d.traffic.Weights, serves)
}

// noReadyPods says what it means that the candidate has none: no traffic, or traffic that fails where nobody else may take it.
func (d *deciding) noReadyPods(c release.Candidate) string {
	s, name := d.facts.Service, release.Object(d.facts.Service.Namespace, c.Deployment.Name)
	text := fmt.Sprintf("no pod of %s is ready as version %s", name, c.Version)
	share := weightOf(d.traffic.Weights, c.Version)
	switch {
	case !d.unserved():
		text += ": it gets no traffic of Service " + s.Name
	case share > 0:
		text += fmt.Sprintf(": the %s of Service %s that it gets fails, because nobody else may take it: %s", share, s.Name, d.stableLacks())
	default:
		text += fmt.Sprintf(": it gets no traffic, and all traffic of Service %s fails: %s", s.Name, d.stableLacks())
	}
	if c.Deployment.Replicas == 0 {
		text += "; it has zero replicas"
	}
	if pausedByUser(c.Deployment) {
		text += "; " + resume(s.Namespace, c.Deployment)
	}
	if c.Deployment.ReplicaFailure != "" {
		text += "; Kubernetes cannot create its pods: " + c.Deployment.ReplicaFailure
	}
	if c.Deployment.DeadlineExceeded {
		text += "; its progressDeadlineSeconds have passed (see its condition Progressing and its pods' events)"
	}
	switch {
	case !d.unserved():
	case c.Followed.Share() > 0 || !d.cast.StableStays():
		text += "; traffic goes by itself to the first of them that has a ready pod"
	default:
		text += "; make pods of stable ready"
	}
	return text
}

// stableLacks says why stable cannot take any traffic.
func (d *deciding) stableLacks() string {
	name, all := d.cast.StableObjects(d.facts.Service.Namespace), d.cast.Stables
	each := func(is func(x *release.Deployment) bool) bool {
		return !slices.ContainsFunc(all, func(x *release.Deployment) bool { return !is(x) })
	}
	switch {
	case len(all) == 0:
		return fmt.Sprintf("stable %s is gone", name)
	case each(func(x *release.Deployment) bool { return x.Replicas == 0 }):
		return fmt.Sprintf("stable %s has zero replicas", name)
	case each(func(x *release.Deployment) bool { return x.Deleting }):
		return fmt.Sprintf("stable %s is being deleted", name)
	}
	text := fmt.Sprintf("no pod of stable %s is ready as version %s", name, d.cast.Stable.Version)
	for _, x := range all {
		if pausedByUser(*x) {
			text += "; " + resume(d.facts.Service.Namespace, *x)
		}
	}
	return text
}

// pausedByUser: not by the webhook, nor for an adoption.
func pausedByUser(x release.Deployment) bool {
	return x.SpecPaused && !release.IsHeld(x) && !release.IsBeingAdopted(x)
}

func resume(namespace string, x release.Deployment) string {
	return fmt.Sprintf("%s has spec.paused: true, which grayscale did not set: kubectl -n %s rollout resume deployment/%s",
		release.Object(namespace, x.Name), namespace, x.Name)
}

// idle tells the owner of a candidate that could serve, and gets no traffic, that stable's fails.
func (d *deciding) idle(c release.Candidate) []intent.Problem {
	if !d.unserved() || c.Deployment.Ready(c.Version) == 0 {
		return nil
	}
	fix := fmt.Sprintf("make pods of stable ready, or set %s to send traffic to version %s", intent.KeyWeight, c.Version)
	switch c.Asked.Strategy {
	case intent.BlueGreen:
		fix = fmt.Sprintf(`make pods of stable ready, or set %s to "true" to send traffic to version %s`, intent.KeyActive, c.Version)
	case intent.Mirror:
		fix = fmt.Sprintf(`make pods of stable ready, or set %s to "canary" and %s, to send traffic to version %s`, intent.KeyStrategy, intent.KeyWeight, c.Version)
	}
	return []intent.Problem{{Kind: intent.Unused, Reason: ReasonNoReadyPods,
		Message: fmt.Sprintf("Traffic of Service %s fails, because %s", d.facts.Service.Name, d.stableLacks()), Fix: fix}}
}

// leavingText says what becomes of the traffic of a candidate whose end is announced.
func (d *deciding) leavingText(c release.Candidate) string {
	if weightOf(d.traffic.Weights, c.Version) > 0 {
		return fmt.Sprintf("it is about to be deleted or scaled to zero, and keeps its traffic until its last pod ends, because nobody else may take it: %s",
			d.stableLacks())
	}
	return fmt.Sprintf("it is about to be deleted or scaled to zero: its traffic has gone, and comes back where neither happens within %s", leaveLimit)
}

func weightOf(list []release.Weight, version string) intent.Percent {
	for _, w := range list {
		if w.Version == version {
			return w.Share
		}
	}
	return 0
}
