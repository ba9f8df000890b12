package routing

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

// Values of Condition.Status.
const (
	statusTrue  = "True"
	statusFalse = "False"
)

// Reasons of conditions that are not the reason of a problem.
const (
	reasonAccepted   = "Accepted"
	reasonProgrammed = "Programmed"
	reasonPinning    = "Pinning"
	reasonSettling   = "Settling"

	// ReasonStable is the reason for a Deployment that kept its strategy when it became stable.
	ReasonStable = "Stable"
	// ReasonNotAccepted is the reason for routes that do not follow the annotations, because these are not accepted.
	ReasonNotAccepted = "NotAccepted"
	// ReasonNoReadyPods is the reason for a candidate without ready pods, which gets no traffic unless nobody else may
	// take it, and for traffic that fails because no pod is ready.
	ReasonNoReadyPods = "NoReadyPods"
	// ReasonPaused is the reason for a release whose owner wants its routes to stay as they are.
	ReasonPaused = "Paused"
	// ReasonNewerState is the reason for a release whose routes were written by a newer grayscale.
	ReasonNewerState = "NewerState"
	// ReasonLeaving is the reason for a version that is about to be deleted or scaled to zero.
	ReasonLeaving = "Leaving"
)

// conditions are our conditions as the Deployment should have them, and the problems that they show.
func (r reporting) conditions(v *release.Version) ([]release.Condition, []intent.Problem) {
	if !v.HasStrategy() {
		return nil, nil
	}
	if r.roles.IsStable(v.Name) {
		message := fmt.Sprintf("%s is stable behind Service %s: its strategy is inert",
			release.Object(r.facts.Service.Namespace, v.Name), r.service())
		return []release.Condition{condition(intent.ConditionAccepted, statusTrue, ReasonStable, message),
			condition(intent.ConditionProgrammed, statusTrue, ReasonStable, message)}, nil
	}
	problems, disturbances := problemsOf(v, inOrder(v, append([]*situation{r.situation}, r.beside...)))
	for _, p := range r.parts(v) {
		if c := p.roleOf(v); c != nil && !c.Beside {
			problems = append(problems, p.idle(c)...)
		}
	}
	want := []release.Condition{accepted(problems, r.pinnedBeside(v)), r.programmed(v)}
	return want, slices.Concat(problems, disturbances)
}

// pinnedBeside names the Services that send the candidate nothing, because it is not released behind them.
func (r reporting) pinnedBeside(v *release.Version) []string {
	var out []string
	for _, p := range r.parts(v) {
		if c := p.roleOf(v); c != nil && c.Beside && p.exposes() {
			out = append(out, p.service())
		}
	}
	return out
}

func condition(kind, status, reason, message string) release.Condition {
	return release.Condition{Type: kind, Status: status, Reason: reason, Message: message}
}

// accepted says what is wrong with the annotations. If nothing is, it names the Services that are pinned without being
// named (beside), and adds the problems that change nothing.
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
		return fmt.Sprintf("Service %s, which %s does not name, goes to stable alone for as long as the release lasts",
			services[0], intent.KeyService)
	}
	return fmt.Sprintf("Services %s, which %s does not name, go to stable alone for as long as the release lasts",
		intent.JoinNames(services), intent.KeyService)
}

// programmed says whether the mesh has the routes that the candidate asks for, for every Service that it is released
// behind. The message of a True condition is part of the contract (Intent.Describe).
func (r reporting) programmed(v *release.Version) release.Condition {
	not := func(reason, message string) release.Condition {
		return condition(intent.ConditionProgrammed, statusFalse, reason, message)
	}
	own := r.roleOf(v)
	if own == nil {
		return not(ReasonNotAccepted, "no routes: the annotations are not accepted")
	}
	var parts, named []*routePlan
	for _, p := range r.parts(v) {
		if c := p.roleOf(v); c != nil {
			parts = append(parts, p)
			if !c.Beside {
				named = append(named, p)
			}
		}
	}
	for _, p := range named {
		if reason, message := p.stays(p.roleOf(v)); reason != "" {
			return not(reason, message)
		}
	}
	if reason, message := r.pinning(v, parts, named); reason != "" {
		return not(reason, message)
	}
	for _, p := range named {
		if reason, message := r.waits(p, p.roleOf(v)); reason != "" {
			return not(reason, message)
		}
	}
	asked := own.Intent.Describe(intent.JoinNames(v.Placed.Services))
	for _, p := range parts {
		if reason, but := p.disturbed(p.roleOf(v)); reason != "" {
			return not(reason, asked+", but "+but)
		}
	}
	return condition(intent.ConditionProgrammed, statusTrue, reasonProgrammed, asked)
}

// stays says why the routes do not follow the annotations: these are not accepted, or their owner paused the release.
func (p *routePlan) stays(c *release.Candidate) (reason, message string) {
	following := "no routes"
	if c.Followed.Strategy != "" {
		following = "routes stay at " + c.Followed.Describe(p.service())
	}
	switch {
	case c.Blocked():
		return ReasonNotAccepted, following + ": the annotations are not accepted"
	case c.Intent.Paused && !c.Intent.SameRoutes(c.Followed):
		return ReasonPaused, fmt.Sprintf("%s while %s is \"true\"", following, intent.KeyPaused)
	}
	return "", ""
}

// pinning says what the candidate waits for until its Services are pinned to stable. The reason is empty once they are.
// A held candidate also waits for the Services that only select its pods.
func (r reporting) pinning(v *release.Version, parts, named []*routePlan) (reason, message string) {
	for _, p := range named {
		if !p.pinned && (p != r.own || p.routesWrite == nil) {
			return reasonPinning, fmt.Sprintf("waiting until Service %s is pinned to stable version %s",
				p.service(), p.roles.Stable.Version)
		}
	}
	if !v.IsHeld() {
		return "", ""
	}
	wait := named[0]
	for _, p := range slices.Backward(parts) {
		if ok, _ := p.shields(v.Name); !ok {
			wait = p
		}
	}
	return wait.holds(wait.roleOf(v))
}

// holds says what keeps the candidate at zero pods.
func (p *routePlan) holds(c *release.Candidate) (reason, message string) {
	if reason, but := p.disturbed(c); reason != "" {
		return reason, "held at zero pods: " + but
	}
	service := "Service " + p.service()
	if c.Beside {
		service = unnamed(p.facts.Service)
	}
	if p.roles.Stable.Version == "" {
		return reasonPinning, fmt.Sprintf("held at zero pods until %s is pinned to stable", service)
	}
	return reasonPinning, fmt.Sprintf("held at zero pods until the routes that pin %s to stable version %s have settled",
		service, p.roles.Stable.Version)
}

// waits says what is still missing where the routes follow the annotations.
func (r reporting) waits(p *routePlan, c *release.Candidate) (reason, message string) {
	switch {
	case c.Serving() == 0:
		return ReasonNoReadyPods, p.noReadyPods(c)
	case !c.LeavingSince.IsZero():
		return ReasonLeaving, p.leavingText(c)
	case p != r.own && p.routesWrite != nil:
		return reasonSettling, fmt.Sprintf("waiting until the routes of Service %s are written", p.service())
	case !p.serving(c) && p.unserved():
		return ReasonNoReadyPods, fmt.Sprintf("routes stay as they are, and the traffic of Service %s fails: %s",
			p.service(), p.stableLacks())
	case !p.serving(c):
		return reasonSettling, fmt.Sprintf("waiting until the endpoints of version %s have reached every Envoy", c.Label)
	}
	return "", ""
}

// disturbed says, in words for the candidate's owner, what keeps the routes from reaching every client. The reason is
// empty if nothing does.
func (p *routePlan) disturbed(c *release.Candidate) (reason, but string) {
	var sentences []string
	for _, problem := range p.disturbances {
		for _, shown := range p.reworded(c, problem) {
			reason, sentences = cmp.Or(reason, shown.Reason), append(sentences, shown.String())
		}
	}
	if reason != "" {
		return reason, strings.Join(sentences, ". ")
	}
	if past := p.pastSubsets(); past != "" {
		return mesh.ReasonRuleConflict, past
	}
	return "", ""
}

// serving: once this plan is done, the traffic gives the candidate what it asks for.
func (p *routePlan) serving(c *release.Candidate) bool {
	if c.Intent.Strategy.CopiesRequests() {
		return release.ShareOf(p.traffic.Mirrors, c.Label) == c.Intent.Copies()
	}
	return release.ShareOf(p.traffic.Weights, c.Label) >= c.Intent.Share()
}
