package routing

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
)

// Types of Kubernetes Events.
const (
	eventNormal  = "Normal"
	eventWarning = "Warning"
)

func (d *deciding) event(deployment, kind, reason, message string) {
	if d.deployment(deployment) == nil {
		return // gone: there is nothing to publish the Event on
	}
	d.out.Events = append(d.out.Events, Event{Deployment: deployment, Type: kind, Reason: reason, Message: message})
}

// announce tells what the VirtualService that is about to be written changes, with who asked for it.
func (d *deciding) announce(next release.State) {
	before, service := d.state, d.facts.Service.Name
	switch {
	case !d.pinned:
		d.event(next.Stable.Deployment, eventNormal, "Pinned",
			fmt.Sprintf("Service %s is pinned to stable version %s", service, next.Stable.Version))
	case d.cast.Promoted || next.Stable.Version != before.Stable.Version && before.Stable.Deployment != "":
		d.event(next.Stable.Deployment, eventNormal, "Promoted", fmt.Sprintf("version %s is stable behind Service %s now", next.Stable.Version, service))
	case istio.NamesPorts(d.facts.VirtualService, d.out.ApplyVirtualService):
	case reflect.DeepEqual(next.Traffic, before.Traffic) && sameHolders(next, before) && maps.Equal(next.Leaving, before.Leaving) &&
		sameBypasses(next.Bypasses, before.Bypasses):
		d.event(next.Stable.Deployment, eventWarning, "RoutesRestored",
			fmt.Sprintf("the VirtualService of Service %s was edited by somebody else and says again what the annotations ask for", service))
	}
	for _, m := range d.cast.Left {
		if h := holderOf(before, m.Deployment); h != nil && h.Intent.Strategy != "" {
			d.event(m.Deployment, eventNormal, "Aborted", fmt.Sprintf("all traffic of Service %s goes to stable version %s", service, next.Stable.Version))
		}
	}
	for _, c := range d.cast.Candidates {
		d.announceShare(c, before, next)
	}
}

func sameHolders(a, b release.State) bool {
	return a.Stable == b.Stable && slices.Equal(a.Also, b.Also) && slices.Equal(a.Candidates, b.Candidates)
}

func holderOf(st release.State, deployment string) *release.Holder {
	for i := range st.Candidates {
		if st.Candidates[i].Deployment == deployment {
			return &st.Candidates[i]
		}
	}
	return nil
}

func (d *deciding) announceShare(c release.Candidate, before, next release.State) {
	was, is := shareOf(before.Traffic, c.Version), shareOf(next.Traffic, c.Version)
	if was == is {
		return
	}
	name := c.Deployment.Name
	if c.Deployment.Ready(c.Version) == 0 {
		d.event(name, eventWarning, ReasonNoReadyPods, d.noReadyPods(c))
		return
	}
	d.event(name, eventNormal, "Routed", fmt.Sprintf("%s (was %s, is %s)%s", c.Followed.Describe(d.facts.Service.Name), was, is, askedBy(c)))
}

// shareOf is the version's share of requests, or of copies where it gets no requests.
func shareOf(t release.Traffic, version string) intent.Percent {
	return cmp.Or(weightOf(t.Weights, version), weightOf(t.Mirrors, version))
}

// askedBy names who wrote the annotation that the share follows from.
func askedBy(c release.Candidate) string {
	key := map[intent.Strategy]string{intent.Canary: intent.KeyWeight, intent.BlueGreen: intent.KeyActive, intent.Mirror: intent.KeyMirrorPercent}[c.Followed.Strategy]
	if who := c.Deployment.SetBy[key]; who != "" {
		return ", asked by " + who
	}
	if who := c.Deployment.SetBy[intent.KeyStrategy]; who != "" {
		return ", asked by " + who
	}
	return ""
}

// announceLift tells that the pods of a candidate may start.
func (d *deciding) announceLift(x release.Deployment) {
	c := candidate(d.cast, x.Name)
	if c == nil {
		return // it is stable
	}
	var pinned []string
	for _, p := range d.parts(x) {
		if p.pinned {
			pinned = append(pinned, p.facts.Service.Name)
		}
	}
	text := fmt.Sprintf("Service %s is pinned to stable %s", d.facts.Service.Name, d.cast.Stable.Version)
	if len(pinned) > 1 {
		text = fmt.Sprintf("Services %s are pinned to stable", intent.JoinNames(pinned))
	}
	d.event(x.Name, eventNormal, "HoldLifted", fmt.Sprintf("%s: pods of version %s may start", text, c.Version))
}

// announceProblem warns when the annotations have just stopped being accepted, or are refused for another reason, and when
// traffic fails because nobody is ready to take it.
func (d *deciding) announceProblem(x release.Deployment, want []release.Condition) {
	for _, c := range want {
		refused := c.Type == intent.ConditionAccepted && c.Status == statusFalse
		fails := c.Type == intent.ConditionProgrammed && c.Reason == ReasonNoReadyPods && d.unserved()
		if (refused || fails) && !slices.Contains(x.Conditions, c) {
			d.event(x.Name, eventWarning, c.Reason, c.Message)
		}
	}
	if programmed := conditionIn(want, intent.ConditionProgrammed); programmed.Status != statusTrue {
		before := conditionIn(x.Conditions, intent.ConditionProgrammed).Message
		for _, p := range d.disturbances {
			if strings.Contains(programmed.Message, p.String()) && !strings.Contains(before, p.String()) {
				d.event(x.Name, eventWarning, p.Reason, p.String())
			}
		}
	}
}

func conditionIn(list []release.Condition, kind string) release.Condition {
	for _, c := range list {
		if c.Type == kind {
			return c
		}
	}
	return release.Condition{}
}
