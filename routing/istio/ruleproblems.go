package istio

import (
	"fmt"
	"slices"
	"strings"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/mesh"
)

// SubsetProblems name the users' DestinationRules that keep ours from some clients of the Service, or whose settings
// ours would take away.
func (m Mesh) SubsetProblems(version, stable string) []intent.Problem {
	var out []intent.Problem
	if m.DestinationRule != nil && !mesh.Ours(m.DestinationRule) {
		out = append(out, m.nameTaken(kindDestinationRule))
	}
	if len(m.OtherDestinationRules) == 0 {
		return out
	}
	others := m.otherRules()
	for _, o := range sorted(m.OtherDestinationRules) {
		if m.hasNameOfOurs(o) && !mesh.Ours(o) {
			out = append(out, m.nameTaken(kindDestinationRule))
			continue
		}
		if what, fix := others.conflict(o, version, stable); what != "" {
			out = append(out, intent.Problem{Kind: intent.Conflict, Reason: mesh.ReasonRuleConflict,
				Message: fmt.Sprintf("DestinationRule %s/%s for host %s %s", o.Namespace, o.Name, o.Spec.Host, what),
				Fix:     fix})
		}
	}
	return out
}

func (m Mesh) nameTaken(kind string) intent.Problem {
	return intent.Problem{Kind: intent.Conflict, Reason: mesh.ReasonNameTaken,
		Message: fmt.Sprintf("%s %s/%s has the name that the release needs, but grayscale did not write it",
			kind, m.Service.Namespace, mesh.Name(m.Service.Name)),
		Fix: "rename it"}
}

// conflict says what is wrong with a rule and how to fix it; both are empty for a rule that does no harm.
func (r otherRules) conflict(o *networkingv1.DestinationRule, version, stable string) (what, fix string) {
	switch {
	case slices.Contains(r.local, o):
		return localConflict(o)
	case slices.Contains(r.merged, o):
		if what, fix = exportConflict(o, r.merged[0]); what != "" {
			return what, fix
		}
		return subsetConflict(o, version, stable)
	case len(r.merged) == 0 && slices.Contains(r.displaced, o):
		if len(o.Spec.Subsets) > 0 {
			return "has subsets, which the release would take away from those who route to them",
				"name the Service's own host in it, in the Service's namespace"
		}
		return exportConflict(o, r.displaced[0])
	}
	return "", ""
}

// localConflict is about a rule that its clients see instead of ours.
func localConflict(o *networkingv1.DestinationRule) (what, fix string) {
	if o.Spec.WorkloadSelector != nil {
		return "has a workloadSelector: the clients that it selects would not know the subsets of the release",
			"remove the workloadSelector, or the rule"
	}
	fix = "move it to the Service's namespace"
	if strings.HasPrefix(o.Spec.Host, "*") {
		fix = "name the hosts that it needs in place of the wildcard"
	}
	return fmt.Sprintf("hides every other rule for it from clients in namespace %s: "+
		"they would not know the subsets of the release", o.Namespace), fix
}

// exportConflict is about the exportTo of a rule. The VirtualService sends the clients of every namespace to the
// subsets, so all must know them. Rules of one namespace are only merged if their exportTo is literally the same;
// otherwise the younger replaces the older.
func exportConflict(o, first *networkingv1.DestinationRule) (what, fix string) {
	switch {
	case !isPublic(o.Spec.ExportTo):
		return fmt.Sprintf("has exportTo %q: clients in other namespaces would not know the subsets of the release",
				o.Spec.ExportTo),
			`remove exportTo, or set it to ["*"]`
	case !slices.Equal(o.Spec.ExportTo, first.Spec.ExportTo):
		return fmt.Sprintf("has exportTo %q where DestinationRule %s has %q: Istio does not merge the two",
				o.Spec.ExportTo, first.Name, first.Spec.ExportTo),
			"write the same exportTo in both"
	}
	return "", ""
}

// subsetConflict is about subsets with a name of ours. Istio takes the one in the older rule, which does no harm if
// both mean the same.
func subsetConflict(o *networkingv1.DestinationRule, version, stable string) (what, fix string) {
	for _, sub := range o.Spec.Subsets {
		differs := func(v string) bool { return v != "" && sub.GetName() == SubsetName(v) && !selects(sub, v) }
		what = fmt.Sprintf("has a subset %q with other labels than version: ", sub.GetName())
		switch {
		case differs(version):
			return what + version, "rename that subset, or give the candidate another version"
		case differs(stable):
			return what + stable + ", which is stable's version",
				fmt.Sprintf("rename that subset, or give it the label version: %s alone", stable)
		}
	}
	return "", ""
}
