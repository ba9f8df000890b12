package routing

import (
	"maps"
	"slices"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"grayscale.dev/grayscale/routing/release"
)

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
