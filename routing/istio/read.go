package istio

import (
	"slices"
	"time"

	"istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

// ReadSubsets reads when each subset was added and marked as going. It is false if the annotation is absent or damaged;
// the subsets are then those of the rule, without times.
func ReadSubsets(dr *networkingv1.DestinationRule) (release.Subsets, bool) {
	if sub, ok := mesh.ReadSubsets(dr); ok {
		return sub, true
	}
	sub := release.Subsets{Added: map[string]time.Time{}}
	for _, version := range versionsOf(dr) {
		sub.Added[version] = time.Time{}
	}
	return sub, false
}

// Subsets are the names of the rule's subsets, in its order.
func Subsets(dr *networkingv1.DestinationRule) []string {
	out := make([]string, len(dr.Spec.Subsets))
	for i, s := range dr.Spec.Subsets {
		out[i] = s.GetName()
	}
	return out
}

// versionsOf are the versions whose subset the rule has, with exactly its label; in the order of the rule.
func versionsOf(dr *networkingv1.DestinationRule) []string {
	out := make([]string, 0, len(dr.Spec.Subsets))
	for _, s := range dr.Spec.Subsets {
		if version := s.GetLabels()[release.VersionLabel]; selects(s, version) && s.GetName() == SubsetName(version) {
			out = append(out, version)
		}
	}
	return out
}

// selects reports whether the subset's only label is that of the version.
func selects(s *v1alpha3.Subset, version string) bool {
	return len(s.GetLabels()) == 1 && s.GetLabels()[release.VersionLabel] == version
}

// ReferencedSubsets are the subsets that the VirtualService sends requests, connections or copies to, sorted and
// without duplicates. They are read from the routes themselves, because somebody may have edited them.
func ReferencedSubsets(vs *networkingv1.VirtualService) []string {
	var out []string
	add := func(d *v1alpha3.Destination) {
		if d.GetSubset() != "" {
			out = append(out, d.GetSubset())
		}
	}
	for _, r := range vs.Spec.Http {
		for _, d := range r.GetRoute() {
			add(d.GetDestination())
		}
		for _, m := range r.GetMirrors() {
			add(m.GetDestination())
		}
		add(r.GetMirror())
	}
	for _, r := range slices.Concat(connectionRoutes(vs)...) {
		add(r.GetDestination())
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func connectionRoutes(vs *networkingv1.VirtualService) [][]*v1alpha3.RouteDestination {
	var out [][]*v1alpha3.RouteDestination
	for _, r := range vs.Spec.Tcp {
		out = append(out, r.GetRoute())
	}
	for _, r := range vs.Spec.Tls {
		out = append(out, r.GetRoute())
	}
	return out
}
