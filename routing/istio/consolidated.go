package istio

import (
	"maps"
	"slices"

	"istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
)

// consolidatedRule is what istiod makes of several rules of one namespace (its ConsolidatedDestRule).
type consolidatedRule struct {
	namespace string
	exportTo  map[string]bool
	selector  map[string]string // nil where there is none
	subsets   map[string]*v1alpha3.Subset
	from      []string // namespace/name of the rules that it is made of
}

// consolidated are the rules in a pool for its most specific host, merged as istiod merges them.
func (l lookup) consolidated(inPool func(*networkingv1.DestinationRule) bool) []*consolidatedRule {
	pool := slices.DeleteFunc(slices.Clone(l.rules), func(r *networkingv1.DestinationRule) bool { return !inPool(r) })
	var out []*consolidatedRule
	for _, r := range nearest(pool, l.domain) {
		if next := consolidatedOf(r); mergeInto(out, next) {
			out = append(out, next)
		}
	}
	return out
}

// mergeInto adds a rule's subsets to those that istiod merges it with, and reports whether the rule also stays a rule
// of its own. As in istiod, the last entry of the list that it is compared with decides that.
func mergeInto(list []*consolidatedRule, next *consolidatedRule) (apart bool) {
	apart = true
	for _, m := range list {
		equal := maps.Equal(m.exportTo, next.exportTo)
		if apart = !equal; apart && (len(m.exportTo) == 0 || !superset(next.exportTo, m.exportTo)) {
			continue
		}
		plain := m.selector == nil && next.selector == nil
		selecting := m.selector != nil && next.selector != nil
		if selecting && !maps.Equal(m.selector, next.selector) {
			apart = true
			continue
		}
		if plain || selecting {
			apart = false
		}
		m.from = append(m.from, next.from...)
		for name, sub := range next.subsets {
			if m.subsets[name] == nil {
				m.subsets[name] = sub
			}
		}
	}
	return apart
}

func consolidatedOf(r *networkingv1.DestinationRule) *consolidatedRule {
	m := &consolidatedRule{namespace: r.Namespace, exportTo: exportSet(r), subsets: map[string]*v1alpha3.Subset{},
		from: []string{r.Namespace + "/" + r.Name}}
	if r.Spec.WorkloadSelector != nil {
		m.selector = maps.Clone(r.Spec.WorkloadSelector.GetMatchLabels())
		if m.selector == nil {
			m.selector = map[string]string{} // selects everybody
		}
	}
	for _, sub := range r.Spec.Subsets {
		if m.subsets[sub.GetName()] == nil {
			m.subsets[sub.GetName()] = sub
		}
	}
	return m
}

// has reports whether each version has its subset, with exactly its label.
func (c consolidatedRule) has(versions []string) bool {
	return !slices.ContainsFunc(versions, func(v string) bool {
		sub := c.subsets[SubsetName(v)]
		return sub == nil || !selects(sub, v)
	})
}

// others are the rules that it is made of, without ours.
func (c consolidatedRule) others(ours *networkingv1.DestinationRule) []string {
	named := ours.Namespace + "/" + ours.Name
	from := slices.DeleteFunc(slices.Clone(c.from), func(name string) bool { return name == named })
	slices.Sort(from)
	return slices.Compact(from)
}

func superset(a, b map[string]bool) bool {
	for k := range b {
		if !a[k] {
			return false
		}
	}
	return true
}

// exportSet is the rule's exportTo. A rule with a workloadSelector is only visible in its own namespace, whatever its
// exportTo says.
func exportSet(r *networkingv1.DestinationRule) map[string]bool {
	out := map[string]bool{}
	if r.Spec.WorkloadSelector != nil {
		return map[string]bool{".": true}
	}
	for _, to := range r.Spec.ExportTo {
		out[to] = true
	}
	return out
}

// isVisibleAtHome: clients in the rule's own namespace can see it.
func isVisibleAtHome(r *networkingv1.DestinationRule) bool {
	to := exportSet(r)
	return len(to) == 0 || to["*"] || to["."] || to[r.Namespace]
}

// isPrivate: no client of another namespace can see it.
func isPrivate(r *networkingv1.DestinationRule) bool {
	to := exportSet(r)
	return len(to) == 1 && (to["."] || to[r.Namespace])
}
