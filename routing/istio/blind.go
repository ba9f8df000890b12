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

// Blind are the clients that lack subsets of ours beside the users' rules that there are: what istiod's lookup gives
// each kind of client is compared with what ours holds of the versions. Where that is everybody there is one entry,
// without a namespace. The order is that of namespaces, then labels.
func (m Mesh) Blind(versions []string) []mesh.Blind {
	return m.blind(m.OtherDestinationRules, versions)
}

// ComingBlind are those that will lack subsets beside the users' rules that are to come.
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

// lacking tells which clients lack subsets of the versions beside others, where ours is like that.
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
