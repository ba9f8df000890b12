package istio

import (
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

// RenderSubsets returns the DestinationRule with the subsets. Istio merges it with rules of users, so its exportTo may
// follow theirs. If that changes it, the write rests on those rules.
func (m Mesh) RenderSubsets(sub release.Subsets) mesh.Write {
	dr, current := m.destinationRule(sub), m.DestinationRule
	switch {
	case current == nil:
		return mesh.Write{Object: dr, RestsOnDerived: true}
	case equalDestinationRule(current, dr):
		return mesh.Write{Object: dr, Same: true}
	}
	return mesh.Write{
		Object:         dr,
		RestsOnDerived: !containsAll(Subsets(dr), Subsets(current)),
		RestsOnOthers:  !slices.Equal(dr.Spec.ExportTo, current.Spec.ExportTo),
	}
}

// destinationRule is the complete object. Istio merges our rule with a user's for the same host and namespace only if
// both have literally the same exportTo, so a public exportTo is copied. If our rule displaces another one, the
// trafficPolicy of that one is carried over.
func (m Mesh) destinationRule(sub release.Subsets) *networkingv1.DestinationRule {
	current := m.DestinationRule
	dr := &networkingv1.DestinationRule{
		TypeMeta:   metav1.TypeMeta{APIVersion: apiVersion, Kind: kindDestinationRule},
		ObjectMeta: mesh.ObjectMeta(m.Service, sub),
	}
	if current != nil {
		dr.ResourceVersion = current.ResourceVersion
	}
	dr.Spec.Host = m.host()
	for _, version := range slices.Sorted(maps.Keys(sub.Added)) {
		dr.Spec.Subsets = append(dr.Spec.Subsets, &v1alpha3.Subset{
			Name: SubsetName(version), Labels: map[string]string{release.VersionLabel: version}})
	}
	others := m.otherRules()
	if len(others.merged) > 0 {
		dr.Spec.ExportTo = m.exportTo(dr, others.merged)
		return dr
	}
	if current != nil && isPublic(current.Spec.ExportTo) {
		// It means the same as none, and a rule of users that comes back is merged at once.
		dr.Spec.ExportTo = slices.Clone(current.Spec.ExportTo)
	}
	if policy := others.displacedPolicy(); policy != nil {
		dr.Spec.TrafficPolicy = proto.CloneOf(policy)
	}
	return dr
}

// exportTo is the exportTo of our rule if Istio merges it with rules of users. It is the exportTo of one of these, the
// oldest first, or the current one of ours, so that no client lacks our subsets. It is never private: the
// VirtualService is for all namespaces.
func (m Mesh) exportTo(dr *networkingv1.DestinationRule, merged []*networkingv1.DestinationRule) []string {
	current := m.DestinationRule
	var choices [][]string
	for _, o := range merged {
		choices = append(choices, o.Spec.ExportTo)
	}
	trial := dr.DeepCopy()
	trial.CreationTimestamp = youngest
	if current != nil {
		choices = append(choices, current.Spec.ExportTo)
		trial.CreationTimestamp = current.CreationTimestamp
	}
	choices = slices.DeleteFunc(append(choices, nil), func(to []string) bool { return !isPublic(to) })
	for _, to := range choices {
		trial.Spec.ExportTo = to
		if len(m.lacking(trial, m.OtherDestinationRules, versionsOf(dr))) == 0 {
			return slices.Clone(to)
		}
	}
	if current != nil && isPublic(current.Spec.ExportTo) {
		return slices.Clone(current.Spec.ExportTo)
	}
	return slices.Clone(choices[0])
}

// youngest is the age of a rule that has not been written yet.
var youngest = metav1.NewTime(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))

// equalDestinationRule reports whether the object in the cluster already is as wanted.
func equalDestinationRule(got, want *networkingv1.DestinationRule) bool {
	return mesh.EqualMeta(got, want) && proto.Equal(&got.Spec, &want.Spec)
}
