package routing

import (
	"fmt"
	"slices"
	"strings"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
)

// Values of Condition.Status.
const (
	statusTrue  = "True"
	statusFalse = "False"
)

// Reasons of conditions that are no problem's.
const (
	reasonAccepted   = "Accepted"
	reasonProgrammed = "Programmed"
	reasonPinning    = "Pinning"
	reasonSettling   = "Settling"

	// ReasonStable is that of a Deployment that kept its strategy when it became stable.
	ReasonStable = "Stable"
	// ReasonNotAccepted is that of routes that do not follow annotations that are not accepted.
	ReasonNotAccepted = "NotAccepted"
	// ReasonNoReadyPods is that of a candidate that gets no traffic because no pod of it could take any.
	ReasonNoReadyPods = "NoReadyPods"
	// ReasonPaused is that of a release whose owner wants its routes to stay as they are.
	ReasonPaused = "Paused"
	// ReasonLeaving is that of a version that is about to be deleted or scaled to zero.
	ReasonLeaving = "Leaving"
)

// conditions says for every Deployment what has become of its annotations, where that differs from what its status says.
func (d *deciding) conditions() {
	for _, x := range d.facts.Deployments {
		want := d.wanted(x)
		if !slices.Equal(want, x.Conditions) {
			d.out.Status = append(d.out.Status, Status{Deployment: x.Name, Conditions: want})
			d.announceProblem(x, want)
		}
	}
}

func (d *deciding) wanted(x release.Deployment) []release.Condition {
	for _, c := range d.cast.Candidates {
		if c.Deployment.Name == x.Name {
			d.report(x.Name, d.facts.told(c, d.settings))
			return []release.Condition{accepted(c.Problems), d.programmed(c)}
		}
	}
	if x.Annotations[intent.KeyStrategy] == "" {
		return nil
	}
	if x.Name == d.cast.Stable.Deployment {
		message := fmt.Sprintf("%s is stable behind Service %s: its strategy is inert", release.Object(d.facts.Service.Namespace, x.Name), d.facts.Service.Name)
		return []release.Condition{condition(intent.ConditionAccepted, statusTrue, ReasonStable, message),
			condition(intent.ConditionProgrammed, statusTrue, ReasonStable, message)}
	}
	problems := d.unplaced(x)
	d.report(x.Name, problems)
	return []release.Condition{accepted(problems),
		condition(intent.ConditionProgrammed, statusFalse, ReasonNotAccepted, "no routes: the annotations are not accepted")}
}

// unplaced says why an annotated Deployment is behind no Service.
func (d *deciding) unplaced(x release.Deployment) []intent.Problem {
	services := d.facts.Services
	if !d.facts.Service.Missing {
		services = []release.Service{d.facts.Service}
	}
	return unplaced(d.facts.Service.Namespace, d.facts.Service.Name, x, services)
}

func (d *deciding) report(deployment string, problems []intent.Problem) {
	if len(problems) == 0 {
		return
	}
	if d.out.Problems == nil {
		d.out.Problems = map[string][]intent.Problem{}
	}
	d.out.Problems[deployment] = problems
}

func condition(kind, status, reason, message string) release.Condition {
	return release.Condition{Type: kind, Status: status, Reason: reason, Message: message}
}

func accepted(problems []intent.Problem) release.Condition {
	blocking := release.Blocking(problems)
	if len(blocking) == 0 {
		return condition(intent.ConditionAccepted, statusTrue, reasonAccepted, "the annotations are valid")
	}
	sentences := make([]string, len(blocking))
	for i, p := range blocking {
		sentences[i] = p.String()
	}
	return condition(intent.ConditionAccepted, statusFalse, blocking[0].Reason, strings.Join(sentences, ". "))
}

// programmed says whether Istio has the routes that the candidate asks for; when true, its message is the contract's.
func (d *deciding) programmed(c release.Candidate) release.Condition {
	no := func(reason, format string, args ...any) release.Condition {
		return condition(intent.ConditionProgrammed, statusFalse, reason, fmt.Sprintf(format, args...))
	}
	service := d.facts.Service.Name
	following := "no routes"
	if c.Followed.Strategy != "" {
		following = "routes stay at " + c.Followed.Describe(service)
	}
	writing := d.out.ApplyVirtualService != nil
	switch {
	case c.Blocked():
		return no(ReasonNotAccepted, "%s: the annotations are not accepted", following)
	case c.Asked.Paused && !sameRoutes(c.Asked, c.Followed):
		return no(ReasonPaused, "%s while %s is \"true\"", following, intent.KeyPaused)
	case !d.pinned && !writing:
		return no(reasonPinning, "waiting until Service %s is pinned to stable version %s", service, d.cast.Stable.Version)
	case release.IsHeld(c.Deployment):
		return no(reasonPinning, "held at zero pods until the routes that pin Service %s to stable version %s have settled", service, d.cast.Stable.Version)
	case c.Deployment.Ready(c.Version) == 0:
		return no(ReasonNoReadyPods, "%s", noReadyPods(d.facts.Service, c))
	case !c.Deployment.LeavingSince.IsZero():
		return no(ReasonLeaving, "it is about to be deleted or scaled to zero: its traffic has gone, and comes back where neither happens within %s", leaveLimit)
	case !d.serving(c):
		return no(reasonSettling, "waiting until the endpoints of version %s have reached every Envoy", c.Version)
	}
	if reason, but := d.disturbed(); reason != "" {
		return no(reason, "%s, but %s", c.Asked.Describe(service), but)
	}
	return condition(intent.ConditionProgrammed, statusTrue, reasonProgrammed, c.Asked.Describe(service))
}

// disturbed says what keeps the routes from reaching every client; an empty reason where they do.
func (d *deciding) disturbed() (reason, but string) {
	problems := d.facts.disturbances(d.settings)
	sentences := make([]string, len(problems))
	for i, p := range problems {
		sentences[i] = p.String()
	}
	if len(problems) > 0 {
		return problems[0].Reason, strings.Join(sentences, ". ")
	}
	if past := d.pastSubsets(); past != "" {
		return istio.ReasonRuleConflict, past
	}
	return "", ""
}

func sameRoutes(a, b intent.Intent) bool {
	return a.Strategy == b.Strategy && a.Share() == b.Share() && a.MirrorPercent == b.MirrorPercent
}

func noReadyPods(s release.Service, c release.Candidate) string {
	text := fmt.Sprintf("no pod of %s is ready as version %s: it gets no traffic of Service %s", release.Object(s.Namespace, c.Deployment.Name), c.Version, s.Name)
	if c.Deployment.Replicas == 0 {
		text += "; it has zero replicas"
	}
	if c.Deployment.ReplicaFailure != "" {
		text += "; Kubernetes cannot create its pods: " + c.Deployment.ReplicaFailure
	}
	if c.Deployment.DeadlineExceeded {
		text += "; its progressDeadlineSeconds have passed (see its condition Progressing and its pods' events)"
	}
	return text
}

// serving: the traffic that this decision leaves behind gives the candidate what it asks for.
func (d *deciding) serving(c release.Candidate) bool {
	find := func(list []release.Weight) intent.Percent {
		for _, w := range list {
			if w.Version == c.Version {
				return w.Share
			}
		}
		return 0
	}
	if c.Asked.Strategy == intent.Mirror {
		return find(d.traffic.Mirrors) == c.Asked.MirrorPercent
	}
	return find(d.traffic.Weights) >= c.Asked.Share()
}
