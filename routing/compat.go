package routing

import (
	"maps"
	"slices"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// Object is one derived object as the API server stores it.
type Object interface {
	metav1.Object
	runtime.Object
}

// Decide is the plan and its report in one.
func Decide(f Facts, s Settings) Decision {
	p := MakePlan(f, s)
	r := p.Report()
	rests := p.RestsOn()
	d := Decision{After: p.After, Annotate: r.Annotate, Status: r.Status, Problems: r.Problems, Events: r.Events,
		Confirm: Derived{rests.Routes, rests.Subsets, rests.OtherRules, rests.Beside}}
	for _, w := range p.Writes {
		switch o := w.Object.(type) {
		case *networkingv1.VirtualService:
			if d.DeleteVirtualService = w.Verb == Delete; w.Verb == Apply {
				d.ApplyVirtualService = o
			}
		case *networkingv1.DestinationRule:
			if d.DeleteDestinationRule = w.Verb == Delete; w.Verb == Apply {
				d.ApplyDestinationRule = o
			}
		}
		switch w.Verb {
		case Label:
			d.Label = append(d.Label, w.Member)
		case Lift:
			d.Lift = append(d.Lift, w.Member.Deployment)
		}
	}
	return d
}

// Derived names some of the objects that a decision rests on: the two derived ones, and the users' DestinationRules.
type Derived struct {
	VirtualService  bool `json:"virtualService,omitempty"`
	DestinationRule bool `json:"destinationRule,omitempty"`
	// OtherRules are those of Facts.OtherDestinationRules in the namespaces of the Service, of the bypasses, and in the root.
	OtherRules bool `json:"otherRules,omitempty"`
	// Beside are those of Facts.Beside, by their Services' names, whose VirtualServices are meant as well.
	Beside []string `json:"beside,omitempty"`
}

// IsZero reports whether it names none.
func (d Derived) IsZero() bool {
	return !d.VirtualService && !d.DestinationRule && !d.OtherRules && len(d.Beside) == 0
}

// Decision is what to do now, acted on in the order of Steps; an error stops it before the next one.
// Doing it twice is doing it once. Objects in it carry the resourceVersion they were decided from, so that a
// decision made from a stale cache is refused by the API server; an object without one is to be created.
type Decision struct {
	// Label adopts or repairs: each Deployment's pods, ReplicaSets and template get the version label without a restart.
	Label []release.Member `json:"label,omitempty"`
	// Confirm names the objects to read past the caches before anything is written: they have to be those of Facts.
	Confirm Derived `json:"confirm,omitzero"`
	// Apply* are the derived objects to write; nil means that they are right as they are.
	ApplyDestinationRule *networkingv1.DestinationRule `json:"applyDestinationRule,omitempty"`
	ApplyVirtualService  *networkingv1.VirtualService  `json:"applyVirtualService,omitempty"`
	// Delete* remove the derived objects (with the resourceVersion of Facts as a precondition).
	DeleteVirtualService  bool `json:"deleteVirtualService,omitempty"`
	DeleteDestinationRule bool `json:"deleteDestinationRule,omitempty"`
	// Lift names the Deployments whose hold ends: spec.paused and the annotation grayscale.dev/held are removed.
	Lift []string `json:"lift,omitempty"`
	// Annotate sets (or, where the value is nil, removes) annotations of ours on Deployments.
	Annotate []Annotation `json:"annotate,omitempty"`
	// Status lists the Deployments whose conditions of ours have to change, each with all that it shall have then.
	Status []Status `json:"status,omitempty"`
	// Problems are what is wrong now, per Deployment, for metrics; Decision repeats them until they are mended.
	Problems map[string][]intent.Problem `json:"problems,omitempty"`
	// Events are published on the Deployment after everything else has been done.
	Events []Event `json:"events,omitempty"`
	// After is when to decide again even if nothing changes; zero means only when something changes.
	After time.Duration `json:"after,omitempty"`
}

// Hands do the writes of a Decision. Each method is to be safe to repeat: after an error everything is decided anew.
type Hands interface {
	// LabelPods gives the label back to the pods of a Deployment that had it and lost it. Its rollout, which takes the pods that
	// have the label, goes on until Label has stopped it.
	LabelPods(m release.Member) error
	// Label gives a Deployment's pods, ReplicaSets and template the version label without a restart.
	Label(m release.Member) error
	// Confirm fails where one of the objects, read past all caches, is not the one that was decided from. That holds for half
	// of Settings.Settle: a write of a derived object that would be made later is given up.
	Confirm(which Derived) error
	// Apply* write the whole object, bound to the resourceVersion that it carries.
	ApplyDestinationRule(dr *networkingv1.DestinationRule) error
	ApplyVirtualService(vs *networkingv1.VirtualService) error
	// Delete* remove the object that was decided from, and no later version of it.
	DeleteVirtualService() error
	DeleteDestinationRule() error
	// Lift ends a Deployment's hold.
	Lift(deployment string) error
	// Annotate changes annotations of ours on a Deployment in one write; nil removes.
	Annotate(deployment string, changes map[string]*string) error
	// Status sets the conditions of ours.
	Status(s Status) error
}

// Step is one write of a Decision.
type Step func(Hands) error

// Steps are the writes of a Decision in the only order that keeps every request served. Whoever acts stops at the first
// error: no step is safe without those before it.
func (d Decision) Steps() []Step {
	var out []Step
	if !d.Confirm.IsZero() {
		out = append(out, func(h Hands) error { return h.Confirm(d.Confirm) })
	}
	if d.ApplyDestinationRule != nil {
		out = append(out, func(h Hands) error { return h.ApplyDestinationRule(d.ApplyDestinationRule) })
	}
	if d.ApplyVirtualService != nil {
		out = append(out, func(h Hands) error { return h.ApplyVirtualService(d.ApplyVirtualService) })
	}
	if d.DeleteVirtualService {
		out = append(out, Hands.DeleteVirtualService)
	}
	if d.DeleteDestinationRule {
		out = append(out, Hands.DeleteDestinationRule)
	}
	for _, m := range d.Label {
		out = append(out, func(h Hands) error { return h.LabelPods(m) })
	}
	for _, m := range d.Label { // which waits for others, so that one Deployment would keep the next one's pods waiting
		out = append(out, func(h Hands) error { return h.Label(m) })
	}
	for _, name := range d.Lift {
		out = append(out, func(h Hands) error { return h.Lift(name) })
	}
	changes := map[string]map[string]*string{}
	for _, x := range d.Annotate {
		if changes[x.Deployment] == nil {
			changes[x.Deployment] = map[string]*string{}
		}
		changes[x.Deployment][x.Key] = x.Value
	}
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		out = append(out, func(h Hands) error { return h.Annotate(name, changes[name]) })
	}
	for _, s := range d.Status {
		out = append(out, func(h Hands) error { return h.Status(s) })
	}
	return out
}

// Routes is the part of the decision that moves traffic, for whoever cannot wait for the rest.
func (d Decision) Routes() Decision {
	routes := Decision{ApplyVirtualService: d.ApplyVirtualService, Events: d.Events}
	routes.Confirm.DestinationRule = !d.Confirm.IsZero()
	routes.Confirm.OtherRules = d.Confirm.OtherRules
	return routes
}
