package routing

import (
	"cmp"
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
	// ReasonNoReadyPods is that of a candidate without ready pods: it gets no traffic, but where nobody else may take it.
	ReasonNoReadyPods = "NoReadyPods"
	// ReasonPaused is that of a release whose owner wants its routes to stay as they are.
	ReasonPaused = "Paused"
	// ReasonLeaving is that of a version that is about to be deleted or scaled to zero.
	ReasonLeaving = "Leaving"
)

// conditions says for every Deployment what has become of its annotations, where that differs from what its status says. One of
// several Services speaks for all of them.
func (d *deciding) conditions() {
	for _, x := range d.facts.Deployments {
		if x.Annotations[intent.KeyStrategy] != "" && x.Placed.Author != d.facts.Service.Name {
			continue
		}
		want := d.wanted(x)
		if !slices.Equal(want, x.Conditions) {
			d.out.Status = append(d.out.Status, Status{Deployment: x.Name, Conditions: want})
			d.announceProblem(x, want)
		}
	}
}

func (d *deciding) wanted(x release.Deployment) []release.Condition {
	if x.Annotations[intent.KeyStrategy] == "" {
		return nil
	}
	if d.cast.IsStable(x.Name) {
		message := fmt.Sprintf("%s is stable behind Service %s: its strategy is inert", release.Object(d.facts.Service.Namespace, x.Name), d.facts.Service.Name)
		return []release.Condition{condition(intent.ConditionAccepted, statusTrue, ReasonStable, message),
			condition(intent.ConditionProgrammed, statusTrue, ReasonStable, message)}
	}
	problems, disturbances := d.told(x)
	for _, p := range d.parts(x) {
		if c := candidate(p.cast, x.Name); c != nil && !c.Beside {
			problems = append(problems, p.idle(*c)...)
		}
	}
	d.report(x.Name, slices.Concat(problems, disturbances))
	return []release.Condition{accepted(problems, d.pinnedBeside(x)), d.programmed(x)}
}

func (d *deciding) told(x release.Deployment) (problems, disturbances []intent.Problem) {
	var parts []part
	for _, p := range d.parts(x) {
		parts = append(parts, p.asPart())
	}
	return told(d.facts.Service.Namespace, x, parts)
}

func (d *deciding) asPart() part { return part{d.facts, d.cast, d.disturbances} }

// pinnedBeside names the Services that send the candidate nothing, because it is not released behind them.
func (d *deciding) pinnedBeside(x release.Deployment) []string {
	var out []string
	for _, p := range d.parts(x) {
		if c := candidate(p.cast, x.Name); c != nil && c.Beside && p.facts.exposes(p.cast) {
			out = append(out, p.facts.Service.Name)
		}
	}
	return out
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

// accepted says what is wrong with the annotations. Where nothing is, it says what follows for others: beside are the Services
// that are pinned without being named; and all that changes nothing.
func accepted(problems []intent.Problem, beside []string) release.Condition {
	blocking := release.Blocking(problems)
	if len(blocking) == 0 {
		text := "the annotations are valid"
		if len(beside) > 0 {
			text += "; " + toStable(beside)
		}
		return condition(intent.ConditionAccepted, statusTrue, reasonAccepted, sentences(text, problems))
	}
	return condition(intent.ConditionAccepted, statusFalse, blocking[0].Reason, sentences("", blocking))
}

// sentences are all that there is to say, one after the other.
func sentences(first string, problems []intent.Problem) string {
	var out []string
	if first != "" {
		out = append(out, first)
	}
	for _, p := range problems {
		out = append(out, p.String())
	}
	return strings.Join(out, ". ")
}

func toStable(services []string) string {
	if len(services) == 1 {
		return fmt.Sprintf("Service %s, which %s does not name, goes to stable alone for as long as the release lasts", services[0], intent.KeyService)
	}
	return fmt.Sprintf("Services %s, which %s does not name, go to stable alone for as long as the release lasts", intent.JoinNames(services), intent.KeyService)
}

// programmed says whether Istio has the routes that the candidate asks for, of every Service that it is released behind; when true,
// its message is the contract's.
func (d *deciding) programmed(x release.Deployment) release.Condition {
	if candidate(d.cast, x.Name) == nil {
		return condition(intent.ConditionProgrammed, statusFalse, ReasonNotAccepted, "no routes: the annotations are not accepted")
	}
	var parts, named []*deciding
	for _, p := range d.parts(x) {
		if c := candidate(p.cast, x.Name); c != nil {
			parts = append(parts, p)
			if !c.Beside {
				named = append(named, p)
			}
		}
	}
	for _, p := range named {
		if reason, message := p.stays(*candidate(p.cast, x.Name)); reason != "" {
			return condition(intent.ConditionProgrammed, statusFalse, reason, message)
		}
	}
	if reason, message := pinning(x, parts, named); reason != "" {
		return condition(intent.ConditionProgrammed, statusFalse, reason, message)
	}
	for _, p := range named {
		if reason, message := p.waits(*candidate(p.cast, x.Name)); reason != "" {
			return condition(intent.ConditionProgrammed, statusFalse, reason, message)
		}
	}
	asked := candidate(d.cast, x.Name).Asked.Describe(intent.JoinNames(x.Placed.Services))
	for _, p := range parts {
		if reason, but := p.disturbed(*candidate(p.cast, x.Name)); reason != "" {
			return condition(intent.ConditionProgrammed, statusFalse, reason, asked+", but "+but)
		}
	}
	return condition(intent.ConditionProgrammed, statusTrue, reasonProgrammed, asked)
}

// stays says why routes do not follow the annotations: they are not accepted, or their owner wants routes as they are.
func (d *deciding) stays(c release.Candidate) (reason, message string) {
	following := "no routes"
	if c.Followed.Strategy != "" {
		following = "routes stay at " + c.Followed.Describe(d.facts.Service.Name)
	}
	switch {
	case c.Blocked():
		return ReasonNotAccepted, following + ": the annotations are not accepted"
	case c.Asked.Paused && !sameRoutes(c.Asked, c.Followed):
		return ReasonPaused, fmt.Sprintf("%s while %s is \"true\"", following, intent.KeyPaused)
	}
	return "", ""
}

// pinning says what the candidate waits for until its Services are pinned to stable; no reason once they are. One that is held
// waits for those as well that only select its pods.
func pinning(x release.Deployment, parts, named []*deciding) (reason, message string) {
	for _, p := range named {
		if !p.pinned && (p.aside || p.out.ApplyVirtualService == nil) {
			return reasonPinning, fmt.Sprintf("waiting until Service %s is pinned to stable version %s", p.facts.Service.Name, p.cast.Stable.Version)
		}
	}
	if !release.IsHeld(x) {
		return "", ""
	}
	wait := named[0]
	for _, p := range slices.Backward(parts) {
		if ok, _ := p.shields(x.Name); !ok {
			wait = p
		}
	}
	c := candidate(wait.cast, x.Name)
	if reason, but := wait.disturbed(*c); reason != "" {
		return reason, "held at zero pods: " + but
	}
	service := "Service " + wait.facts.Service.Name
	if c.Beside {
		service = unnamed(wait.facts.Service)
	}
	if wait.cast.Stable.Version == "" {
		return reasonPinning, fmt.Sprintf("held at zero pods until %s is pinned to stable", service)
	}
	return reasonPinning, fmt.Sprintf("held at zero pods until the routes that pin %s to stable version %s have settled", service, wait.cast.Stable.Version)
}

// waits says what routes still wait for, that follow the annotations.
func (d *deciding) waits(c release.Candidate) (reason, message string) {
	switch {
	case c.Deployment.Ready(c.Version) == 0:
		return ReasonNoReadyPods, d.noReadyPods(c)
	case !c.Deployment.LeavingSince.IsZero():
		return ReasonLeaving, d.leavingText(c)
	case d.aside && d.out.ApplyVirtualService != nil:
		return reasonSettling, fmt.Sprintf("waiting until the routes of Service %s are written", d.facts.Service.Name)
	case !d.serving(c) && d.unserved():
		return ReasonNoReadyPods, fmt.Sprintf("routes stay as they are, and the traffic of Service %s fails: %s", d.facts.Service.Name, d.stableLacks())
	case !d.serving(c):
		return reasonSettling, fmt.Sprintf("waiting until the endpoints of version %s have reached every Envoy", c.Version)
	}
	return "", ""
}

// disturbed says what keeps the routes from reaching every client, as it is told to a candidate; an empty reason where they do.
func (d *deciding) disturbed(c release.Candidate) (reason, but string) {
	var sentences []string
	for _, problem := range d.disturbances {
		for _, p := range d.asPart().said(c, problem) {
			reason, sentences = cmp.Or(reason, p.Reason), append(sentences, p.String())
		}
	}
	if reason != "" {
		return reason, strings.Join(sentences, ". ")
	}
	if past := d.pastSubsets(); past != "" {
		return istio.ReasonRuleConflict, past
	}
	return "", ""
}

func sameRoutes(a, b intent.Intent) bool {
	return a.Strategy == b.Strategy && a.Share() == b.Share() && a.MirrorPercent == b.MirrorPercent
}

// serving: the traffic that this decision leaves behind gives the candidate what it asks for.
func (d *deciding) serving(c release.Candidate) bool {
	if c.Asked.Strategy == intent.Mirror {
		return weightOf(d.traffic.Mirrors, c.Version) == c.Asked.MirrorPercent
	}
	return weightOf(d.traffic.Weights, c.Version) >= c.Asked.Share()
}
