package istio

import (
	"slices"

	"istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"grayscale.dev/grayscale/routing/mesh"
)

// otherRules are the users' DestinationRules for a Service's host, by what happens to them beside ours; each list is
// sorted by age (istio pilot/pkg/model/push_context.go, destinationRule and setDestinationRules).
type otherRules struct {
	// merged are for exactly the host, in the Service's namespace: Istio merges them with ours into one rule.
	merged []*networkingv1.DestinationRule
	// displaced are what clients would follow without ours and without a merged one: those for the nearest wildcard in
	// the Service's namespace, or else those for the host or the nearest wildcard in the root namespace.
	displaced []*networkingv1.DestinationRule
	// local are known only to some clients, which see them instead of ours.
	local []*networkingv1.DestinationRule
}

func (m Mesh) otherRules() otherRules {
	var out otherRules
	if len(m.OtherDestinationRules) == 0 {
		return out
	}
	var wildcards, roots []*networkingv1.DestinationRule
	for _, o := range sorted(m.OtherDestinationRules) {
		host := resolve(o.Spec.Host, o.Namespace, m.ClusterDomain)
		switch {
		case !covers(host, m.host()) || mesh.Ours(o) && m.hasNameOfOurs(o):
		case m.isLocal(o):
			out.local = append(out.local, o)
		case o.Namespace == m.Service.Namespace && host == m.host():
			out.merged = append(out.merged, o)
		case o.Namespace == m.Service.Namespace:
			wildcards = append(wildcards, o)
		case o.Namespace == m.RootNamespace:
			roots = append(roots, o)
		}
	}
	if out.displaced = nearest(wildcards, m.ClusterDomain); len(out.displaced) == 0 {
		out.displaced = nearest(roots, m.ClusterDomain)
	}
	return out
}

func (m Mesh) hasNameOfOurs(o mesh.Object) bool {
	return o.GetNamespace() == m.Service.Namespace && o.GetName() == mesh.Name(m.Service.Name)
}

// isLocal: some clients see this rule instead of ours. These are the clients that a workloadSelector selects, and those
// in the rule's own namespace, if that is not the Service's and the rule is visible there. In the root namespace only
// private rules have this effect.
func (m Mesh) isLocal(o *networkingv1.DestinationRule) bool {
	to := o.Spec.ExportTo
	switch {
	case o.Spec.WorkloadSelector != nil:
		return true
	case o.Namespace == m.Service.Namespace:
		return false
	case o.Namespace == m.RootNamespace:
		return len(to) == 1 && (to[0] == "." || to[0] == m.RootNamespace)
	}
	return isPublic(to) || slices.Contains(to, ".") || slices.Contains(to, o.Namespace)
}

// displacedPolicy is the oldest trafficPolicy of the displaced rules: Istio takes that one if several rules are for one
// host.
func (r otherRules) displacedPolicy() *v1alpha3.TrafficPolicy {
	for _, o := range r.displaced {
		if o.Spec.TrafficPolicy != nil {
			return o.Spec.TrafficPolicy
		}
	}
	return nil
}
