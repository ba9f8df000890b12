package istio

import (
	"fmt"
	"slices"
	"strings"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

// Blind are the clients that lack subsets of ours beside the current rules of users. It compares what istiod's lookup
// gives each group of clients with our subsets of the versions. If all clients lack them, there is one entry, without a
// namespace. Entries are sorted by namespace, then by labels.
func (m Mesh) Blind(versions []string) []mesh.Blind {
	return m.blind(m.OtherDestinationRules, versions)
}

// ComingBlind are the clients that will lack subsets beside the rules that users are about to have.
func (m Mesh) ComingBlind(versions []string) []mesh.Blind {
	if m.ComingDestinationRules == nil {
		return nil
	}
	return m.blind(m.ComingDestinationRules, versions)
}

func (m Mesh) blind(others []*networkingv1.DestinationRule, versions []string) []mesh.Blind {
	if m.DestinationRule == nil || !mesh.Ours(m.DestinationRule) || m.Service.Missing {
		return nil
	}
	there := versionsOf(m.DestinationRule)
	versions = slices.DeleteFunc(slices.Clone(versions), func(v string) bool { return !slices.Contains(there, v) })
	out := m.lacking(m.DestinationRule, others, versions)
	for i := range out {
		out[i].Problem = m.blindProblem(out[i])
	}
	return out
}

func (m Mesh) blindProblem(b mesh.Blind) intent.Problem {
	s, who := m.Service, mesh.Describe(b.Clients)
	if len(b.Objects) == 0 {
		return intent.Problem{Kind: intent.Conflict, Reason: mesh.ReasonRuleConflict,
			Message: fmt.Sprintf("DestinationRule %s/%s was edited: %s lack its subsets, and reach all pods of Service %s",
				s.Namespace, mesh.Name(s.Name), who, s.Name),
			Fix: "leave it alone; grayscale puts it back"}
	}
	return intent.Problem{Kind: intent.Conflict, Reason: mesh.ReasonRuleConflict,
		Message: fmt.Sprintf("DestinationRule %s hides the subsets of the release from %s: "+
			"they reach all pods of Service %s, without the split", strings.Join(b.Objects, " and "), who, s.Name),
		Fix: fmt.Sprintf("delete it, or write what it says into a rule for host %s in namespace %s, "+
			"without workloadSelector and exportTo", s.Name, s.Namespace)}
}

// lacking returns the clients that lack subsets of the versions, given our rule and those of others.
func (m Mesh) lacking(ours *networkingv1.DestinationRule, others []*networkingv1.DestinationRule,
	versions []string) []mesh.Blind {
	l := m.lookup(ours, others)
	if l.onlyOurs(versions) {
		return nil
	}
	if rule, ok := l.general(""); len(versions) > 0 && (!ok || !rule.has(versions)) {
		return []mesh.Blind{{Objects: rule.others(ours)}}
	}
	var out []mesh.Blind
	for _, namespace := range l.namespaces() {
		rule, ok := l.general(namespace)
		if !ok || !rule.has(versions) {
			out = append(out, mesh.Blind{Clients: release.Clients{Namespace: namespace}, Objects: rule.others(ours)})
			continue
		}
		out = append(out, l.selected(namespace, versions)...)
	}
	return out
}
