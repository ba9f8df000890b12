package routing

import (
	"fmt"
	"slices"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// Report is what to publish about a Plan once its writes have been made, and the state of each release.
type Report struct {
	// Annotate sets our annotations on Deployments, or removes them (where the value is nil).
	Annotate []Annotation `json:"annotate,omitempty"`
	// Status lists the Deployments whose conditions of ours have to change, each with all the conditions that it should
	// have.
	Status []Status `json:"status,omitempty"`
	// Problems are what is wrong now, per Deployment, for metrics; each decision repeats them until they are fixed.
	Problems map[string][]intent.Problem `json:"problems,omitempty"`
	// Events are to be published after everything else has been done.
	Events []Event `json:"events,omitempty"`
}

// Annotation is one annotation to set on a Deployment, or to remove where Value is nil.
type Annotation struct {
	Deployment string  `json:"deployment"`
	Key        string  `json:"key"`
	Value      *string `json:"value"`
}

// Status is the list of our conditions on one Deployment.
type Status struct {
	Deployment string              `json:"deployment"`
	Conditions []release.Condition `json:"conditions,omitempty"`
	Problems   []intent.Problem    `json:"problems,omitempty"`
}

// Event is one Kubernetes Event about a Deployment.
type Event struct {
	Deployment string `json:"deployment"`
	Type       string `json:"type"` // Normal or Warning
	Reason     string `json:"reason"`
	Message    string `json:"message"`
}

// MakeReport reports what the annotations have led to once the plan's writes have been made. It is empty if the facts
// were too old to decide from.
func (p Plan) MakeReport() Report {
	if p.own == nil {
		return Report{}
	}
	if p.own.newer {
		return p.own.reportNewer()
	}
	r := reporting{Plan: p, routePlan: p.own}
	out := Report{Annotate: r.ownedAnnotations(), Events: slices.Concat(r.routeEvents(), r.liftEvents())}
	for _, v := range p.own.versions {
		if v.HasStrategy() && v.Placed.Author != p.own.service() {
			continue // another of its Services reports for all of them
		}
		want, problems := r.conditions(v)
		if len(problems) > 0 {
			if out.Problems == nil {
				out.Problems = map[string][]intent.Problem{}
			}
			out.Problems[v.Name] = problems
		}
		if !slices.Equal(want, v.Conditions) {
			out.Status = append(out.Status, Status{Deployment: v.Name, Conditions: want})
			out.Events = append(out.Events, r.problemEvents(v, want)...)
		}
	}
	return out
}

// reporting makes the report of a plan; the routePlan is that of the Service itself.
type reporting struct {
	Plan
	*routePlan
}

// parts are the plans for all Services that the Deployment is released behind, in its order, then for those that only
// select its pods.
func (r reporting) parts(v *release.Version) []*routePlan { return inOrder(v, r.all) }

// roleOf is the candidate's role behind the plan's Service; nil if it has none.
func (p *routePlan) roleOf(v *release.Version) *release.Candidate { return p.roles.Candidate(v.Name) }

// reportNewer says on every candidate that only a newer grayscale can manage its release.
func (p *routePlan) reportNewer() Report {
	problem := intent.Problem{Kind: intent.Pending, Reason: ReasonNewerState,
		Message: fmt.Sprintf("a newer grayscale wrote the routes of Service %s/%s: their state has schema %d,"+
			" and this one reads up to %d", p.facts.Service.Namespace, p.service(),
			max(p.state.Schema, p.subsets.Schema), release.Schema),
		Fix: "upgrade grayscale; the routes stay as they are until then"}
	out := Report{Problems: map[string][]intent.Problem{}}
	for _, v := range p.versions {
		if !v.HasStrategy() || v.Placed.Author != p.service() {
			continue
		}
		want := []release.Condition{accepted([]intent.Problem{problem}, nil),
			condition(intent.ConditionProgrammed, statusFalse, ReasonNewerState, problem.Message)}
		out.Problems[v.Name] = []intent.Problem{problem}
		if !slices.Equal(want, v.Conditions) {
			out.Status = append(out.Status, Status{Deployment: v.Name, Conditions: want})
		}
	}
	return out
}
