package istio

import (
	"maps"
	"slices"
	"strings"

	"istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"grayscale.dev/grayscale/routing/release"
)

// Blind are clients whose proxies lack subsets that the routes name, because Istio shows them another rule than ours.
type Blind struct {
	release.Clients
	// Rules are the users' rules that Istio shows them, as namespace/name; empty where it is ours alone, edited.
	Rules []string
}

// BlindClients tells which clients lack subsets of ours beside the users' rules: what istiod's lookup gives each kind of
// client is compared with what ours holds of the versions. Where that is everybody there is one entry, without a
// namespace. The order is that of namespaces, then labels. ours is the rule as it is in the cluster.
func BlindClients(s release.Service, domain string, ours *networkingv1.DestinationRule, others []*networkingv1.DestinationRule,
	root string, versions []string) []Blind {
	versions = slices.DeleteFunc(slices.Clone(versions), func(v string) bool { return !HasSubset(ours, v) })
	l := newLookup(s, domain, ours, others, root)
	if rule, ok := l.general(""); len(versions) > 0 && (!ok || !rule.has(versions)) {
		return []Blind{{Rules: rule.users(ours)}}
	}
	var out []Blind
	for _, namespace := range l.namespaces() {
		rule, ok := l.general(namespace)
		if !ok || !rule.has(versions) {
			out = append(out, Blind{release.Clients{Namespace: namespace}, rule.users(ours)})
			continue
		}
		out = append(out, l.selected(namespace, ours, versions)...)
	}
	return out
}

// lookup finds the DestinationRules of one host as istiod does (istio pilot/pkg/model/push_context.go, destinationRule and
// setDestinationRules; destination_rule.go, mergeDestinationRule; sidecar.go, DestinationRule).
type lookup struct {
	domain, service, root string // the last two are namespaces
	rules                 []*networkingv1.DestinationRule
}

func newLookup(s release.Service, domain string, ours *networkingv1.DestinationRule, others []*networkingv1.DestinationRule, root string) lookup {
	l := lookup{domain: domain, service: s.Namespace, root: root}
	for _, o := range sorted(append(slices.Clone(others), ours)) {
		if covers(resolve(o.Spec.Host, o.Namespace, domain), Host(s, domain)) {
			l.rules = append(l.rules, o)
		}
	}
	slices.SortStableFunc(l.rules, func(a, b *networkingv1.DestinationRule) int {
		switch x, y := a.Spec.WorkloadSelector != nil, b.Spec.WorkloadSelector != nil; {
		case x && !y:
			return -1
		case y && !x:
			return 1
		}
		return 0
	})
	return l
}

// namespaces are those whose clients istiod may treat in another way than the rest, sorted.
func (l lookup) namespaces() []string {
	found := map[string]bool{l.service: true, l.root: true}
	for _, r := range l.rules {
		found[r.Namespace] = true
		for _, to := range r.Spec.ExportTo {
			if len(validation.IsDNS1123Label(to)) == 0 {
				found[to] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// shown are the rules that a client of the namespace may get: first those of its own namespace, then those that the Service's
// exports, then the root namespace's. Of the root's own clients only the private ones come first.
func (l lookup) shown(namespace string) []*mergedRule {
	own := func(r *networkingv1.DestinationRule) bool { return r.Namespace == namespace && isKnownAtHome(r) }
	if namespace == l.root {
		own = func(r *networkingv1.DestinationRule) bool { return r.Namespace == l.root && isPrivate(r) }
	}
	if found := l.merged(own); len(found) > 0 {
		return found
	}
	for _, owner := range []string{l.service, l.root} {
		exported := l.merged(func(r *networkingv1.DestinationRule) bool { return r.Namespace == owner && !isPrivate(r) })
		visible := slices.DeleteFunc(exported, func(m *mergedRule) bool {
			return len(m.exportTo) > 0 && !m.exportTo["*"] && !m.exportTo[namespace]
		})
		if len(visible) > 0 {
			return visible
		}
	}
	return nil
}

// general is the rule of those clients in the namespace that no workloadSelector selects; false where they get none.
func (l lookup) general(namespace string) (mergedRule, bool) {
	shown := l.shown(namespace)
	for _, m := range slices.Backward(shown) {
		if m.selector == nil {
			return *m, true
		}
	}
	var none mergedRule
	for _, m := range shown { // these hide all others from clients that none of them selects
		none.from = append(none.from, m.from...)
	}
	return none, false
}

// selected are the clients in the namespace that a workloadSelector gives a rule without our subsets.
func (l lookup) selected(namespace string, ours *networkingv1.DestinationRule, versions []string) []Blind {
	var out []Blind
	for _, m := range l.shown(namespace) {
		if m.selector == nil || m.namespace != namespace || m.has(versions) {
			continue
		}
		to := release.Clients{Namespace: namespace, Labels: m.selector}
		if !areLabels(m.selector) { // Istio would refuse our VirtualService with them
			to.Labels = nil
		}
		out = append(out, Blind{to, m.users(ours)})
	}
	slices.SortStableFunc(out, func(a, b Blind) int { return strings.Compare(a.Key(), b.Key()) })
	return out
}

func areLabels(labels map[string]string) bool {
	for k, v := range labels {
		if len(validation.IsQualifiedName(k)) > 0 || len(validation.IsValidLabelValue(v)) > 0 {
			return false
		}
	}
	return true
}

// mergedRule is what istiod makes of several rules of one namespace.
type mergedRule struct {
	namespace string
	exportTo  map[string]bool
	selector  map[string]string // nil where there is none
	subsets   map[string]*v1alpha3.Subset
	from      []string // namespace/name of the rules that it is made of
}

// merged are the rules of a pool for the most specific host in it, merged as istiod merges them.
func (l lookup) merged(in func(*networkingv1.DestinationRule) bool) []*mergedRule {
	pool := slices.DeleteFunc(slices.Clone(l.rules), func(r *networkingv1.DestinationRule) bool { return !in(r) })
	var out []*mergedRule
	for _, r := range nearest(pool, l.domain) {
		if apart := mergeInto(out, r); apart {
			out = append(out, newMergedRule(r))
		}
	}
	return out
}

// mergeInto adds a rule's subsets to those that istiod merges it with, and reports whether it stands for itself as well. What
// the last one of the list says decides that.
func mergeInto(list []*mergedRule, r *networkingv1.DestinationRule) (apart bool) {
	apart, next := true, newMergedRule(r)
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

func newMergedRule(r *networkingv1.DestinationRule) *mergedRule {
	m := &mergedRule{namespace: r.Namespace, exportTo: exportSet(r), subsets: map[string]*v1alpha3.Subset{}, from: []string{r.Namespace + "/" + r.Name}}
	if r.Spec.WorkloadSelector != nil {
		m.selector = maps.Clone(r.Spec.WorkloadSelector.GetMatchLabels())
		if m.selector == nil {
			m.selector = map[string]string{} // which selects everybody
		}
	}
	for _, sub := range r.Spec.Subsets {
		if m.subsets[sub.GetName()] == nil {
			m.subsets[sub.GetName()] = sub
		}
	}
	return m
}

// has reports whether each version has its subset, with the label that it ought to have.
func (m mergedRule) has(versions []string) bool {
	return !slices.ContainsFunc(versions, func(v string) bool {
		sub := m.subsets[SubsetName(v)]
		return sub == nil || !means(sub, v)
	})
}

// users are the rules in it that are not ours.
func (m mergedRule) users(ours *networkingv1.DestinationRule) []string {
	from := slices.DeleteFunc(slices.Clone(m.from), func(name string) bool { return name == ours.Namespace+"/"+ours.Name })
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

// exportSet: a rule with a workloadSelector is known in its own namespace alone, whatever it says.
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

// isKnownAtHome: the clients in the rule's own namespace look for it there.
func isKnownAtHome(r *networkingv1.DestinationRule) bool {
	to := exportSet(r)
	return len(to) == 0 || to["*"] || to["."] || to[r.Namespace]
}

// isPrivate: no client of another namespace gets it.
func isPrivate(r *networkingv1.DestinationRule) bool {
	to := exportSet(r)
	return len(to) == 1 && (to["."] || to[r.Namespace])
}
