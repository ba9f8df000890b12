package routing

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// Types of Kubernetes Events.
const (
	eventNormal  = "Normal"
	eventWarning = "Warning"
)

// event is an Event about a Deployment; none if the Deployment is gone, because there is nothing to publish it on.
func (r reporting) event(deployment, kind, reason, message string) []Event {
	if r.version(deployment) == nil {
		return nil
	}
	return []Event{{Deployment: deployment, Type: kind, Reason: reason, Message: message}}
}

// routeEvents say what the write of the routes changes, and who asked for it.
func (r reporting) routeEvents() []Event {
	service, stable := r.service(), r.roles.Stable
	if r.deleteRoutes {
		return r.event(stable.Deployment, eventNormal, "Finished",
			fmt.Sprintf("version %s alone is behind Service %s: its routes are removed", stable.Version, service))
	}
	if !r.moves {
		return nil
	}
	out := r.stableEvent()
	for _, m := range r.roles.Left {
		if g, ok := r.state.Known(m.Deployment); ok && g.Intent.Strategy != "" {
			out = append(out, r.event(m.Deployment, eventNormal, "Aborted",
				fmt.Sprintf("all traffic of Service %s goes to stable version %s", service, r.next.Stable.Version))...)
		}
	}
	for _, c := range r.roles.Candidates {
		out = append(out, r.shareEvent(c)...)
	}
	return out
}

func (r reporting) stableEvent() []Event {
	service, stable, before := r.service(), r.next.Stable, r.state
	switch {
	case !r.pinned:
		return r.event(stable.Deployment, eventNormal, "Pinned",
			fmt.Sprintf("Service %s is pinned to stable version %s", service, stable.Version))
	case r.roles.Promoted || stable.Version != before.Stable.Version && before.Stable.Deployment != "":
		return r.event(stable.Deployment, eventNormal, "Promoted",
			fmt.Sprintf("version %s is stable behind Service %s now", stable.Version, service))
	case r.routesWrite.Upgrades:
	case sameRelease(r.next, before):
		return r.event(stable.Deployment, eventWarning, "RoutesRestored", fmt.Sprintf("the %s of Service %s"+
			" was edited by somebody else and says again what the annotations ask for", r.routesKind(), service))
	}
	return nil
}

// routesKind is the kind of the object that holds the routes.
func (r reporting) routesKind() string {
	routes, _ := r.mesh.Kinds()
	return routes.Kind
}

// sameRelease: both states agree in everything that users see of a release.
func sameRelease(a, b release.State) bool {
	return reflect.DeepEqual(a.Traffic, b.Traffic) && a.Stable == b.Stable && slices.Equal(a.Also, b.Also) &&
		slices.Equal(a.Candidates, b.Candidates) && maps.Equal(a.Leaving, b.Leaving) && sameBypasses(a.Bypasses, b.Bypasses)
}

func (r reporting) shareEvent(c *release.Candidate) []Event {
	was, is := shareOf(r.state.Traffic, c.Label), shareOf(r.next.Traffic, c.Label)
	switch {
	case was == is:
		return nil
	case c.Serving() == 0:
		return r.event(c.Name, eventWarning, ReasonNoReadyPods, r.noReadyPods(c))
	}
	return r.event(c.Name, eventNormal, "Routed",
		fmt.Sprintf("%s (was %s, is %s)%s", c.Followed.Describe(r.service()), was, is, askedBy(c)))
}

// shareOf is the version's share of requests, or of copies where it gets no requests.
func shareOf(t release.Traffic, version string) intent.Percent {
	if share := release.ShareOf(t.Weights, version); share > 0 {
		return share
	}
	return release.ShareOf(t.Mirrors, version)
}

// askedBy names who wrote the annotation that sets the share.
func askedBy(c *release.Candidate) string {
	for _, key := range []string{c.Followed.Strategy.Key(), intent.KeyStrategy} {
		if who := c.SetBy[key]; who != "" {
			return ", asked by " + who
		}
	}
	return ""
}

// liftEvents say that the pods of held candidates may start.
func (r reporting) liftEvents() []Event {
	var out []Event
	for _, w := range r.Writes {
		v := r.version(w.Member.Deployment)
		if w.Verb != Lift || !v.IsHeld() || !v.IsCandidate() || r.roleOf(v) == nil {
			continue // it is stable, or no candidate any more
		}
		var pinned []string
		for _, p := range r.parts(v) {
			if p.pinned {
				pinned = append(pinned, p.service())
			}
		}
		text := fmt.Sprintf("Service %s is pinned to stable %s", r.service(), r.roles.Stable.Version)
		if len(pinned) > 1 {
			text = fmt.Sprintf("Services %s are pinned to stable", intent.JoinNames(pinned))
		}
		out = append(out, r.event(v.Name, eventNormal, "HoldLifted",
			fmt.Sprintf("%s: pods of version %s may start", text, r.roleOf(v).Label))...)
	}
	return out
}

// problemEvents warn when the annotations stop being accepted, or are refused for another reason than before; when
// traffic fails because no pod is ready for it; and when objects of others begin to disturb the release.
func (r reporting) problemEvents(v *release.Version, want []release.Condition) []Event {
	var out []Event
	for _, c := range want {
		refused := c.Type == intent.ConditionAccepted && c.Status == statusFalse
		fails := c.Type == intent.ConditionProgrammed && c.Reason == ReasonNoReadyPods && r.unserved()
		if (refused || fails) && !slices.Contains(v.Conditions, c) {
			out = append(out, r.event(v.Name, eventWarning, c.Reason, c.Message)...)
		}
	}
	if programmed := conditionIn(want, intent.ConditionProgrammed); programmed.Status != statusTrue {
		before := conditionIn(v.Conditions, intent.ConditionProgrammed).Message
		for _, p := range r.disturbances {
			if strings.Contains(programmed.Message, p.String()) && !strings.Contains(before, p.String()) {
				out = append(out, r.event(v.Name, eventWarning, p.Reason, p.String())...)
			}
		}
	}
	return out
}

func conditionIn(list []release.Condition, kind string) release.Condition {
	for _, c := range list {
		if c.Type == kind {
			return c
		}
	}
	return release.Condition{}
}
