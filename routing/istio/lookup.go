package istio

import (
	"maps"
	"slices"
	"strings"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

// lookup finds the DestinationRules of one host as istiod does (istio pilot/pkg/model/push_context.go, destinationRule
// and setDestinationRules; destination_rule.go, mergeDestinationRule; sidecar.go, DestinationRule).
type lookup struct {
	domain, service, root string // service and root are namespaces
	ours                  *networkingv1.DestinationRule
	rules                 []*networkingv1.DestinationRule // ours among them, in istiod's order
}

func (m Mesh) lookup(ours *networkingv1.DestinationRule, others []*networkingv1.DestinationRule) lookup {
	l := lookup{domain: m.ClusterDomain, service: m.Service.Namespace, root: m.RootNamespace, ours: ours}
	host := m.host()
	for _, o := range sorted(append(slices.Clone(others), ours)) {
		if covers(resolve(o.Spec.Host, o.Namespace, l.domain), host) {
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

// onlyOurs: there is no other rule, and ours is for all clients and has the subsets of the versions. It only makes the
// usual case cheap: the lookup would give the same result.
func (l lookup) onlyOurs(versions []string) bool {
	return len(l.rules) == 1 && l.rules[0] == l.ours && l.ours.Spec.WorkloadSelector == nil &&
		isPublic(l.ours.Spec.ExportTo) && consolidatedOf(l.ours).has(versions)
}

// namespaces are those whose clients istiod may treat differently from the rest, sorted.
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

// visible are the rules that a client in the namespace may get: those of its own namespace; or else those that the
// Service's namespace exports; or else those of the root namespace. For clients in the root namespace, only its private
// rules count as their own.
func (l lookup) visible(namespace string) []*consolidatedRule {
	own := func(r *networkingv1.DestinationRule) bool { return r.Namespace == namespace && isVisibleAtHome(r) }
	if namespace == l.root {
		own = func(r *networkingv1.DestinationRule) bool { return r.Namespace == l.root && isPrivate(r) }
	}
	if found := l.consolidated(own); len(found) > 0 {
		return found
	}
	for _, owner := range []string{l.service, l.root} {
		exported := l.consolidated(func(r *networkingv1.DestinationRule) bool {
			return r.Namespace == owner && !isPrivate(r)
		})
		seen := slices.DeleteFunc(exported, func(c *consolidatedRule) bool {
			return len(c.exportTo) > 0 && !c.exportTo["*"] && !c.exportTo[namespace]
		})
		if len(seen) > 0 {
			return seen
		}
	}
	return nil
}

// general is the rule for clients in the namespace that no workloadSelector selects; false if they get none.
func (l lookup) general(namespace string) (consolidatedRule, bool) {
	visible := l.visible(namespace)
	for _, c := range slices.Backward(visible) {
		if c.selector == nil {
			return *c, true
		}
	}
	var none consolidatedRule
	for _, c := range visible { // these hide all other rules even from clients that none of them selects
		none.from = append(none.from, c.from...)
	}
	return none, false
}

// selected are the clients in the namespace that get a rule without our subsets because of a workloadSelector.
func (l lookup) selected(namespace string, versions []string) []mesh.Blind {
	var out []mesh.Blind
	for _, c := range l.visible(namespace) {
		if c.selector == nil || c.namespace != namespace || c.has(versions) {
			continue
		}
		to := release.Clients{Namespace: namespace, Labels: c.selector}
		if !areLabels(c.selector) { // with them, Istio would refuse our VirtualService
			to.Labels = nil
		}
		out = append(out, mesh.Blind{Clients: to, Objects: c.others(l.ours)})
	}
	slices.SortStableFunc(out, func(a, b mesh.Blind) int { return strings.Compare(a.Key(), b.Key()) })
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

// nearest are the rules with the most specific host: a full name before wildcards, then the longest wildcard (istio
// pkg/config/host/names.go, MoreSpecific).
func nearest(rules []*networkingv1.DestinationRule, domain string) []*networkingv1.DestinationRule {
	var out []*networkingv1.DestinationRule
	best := ""
	for _, o := range rules {
		host := resolve(o.Spec.Host, o.Namespace, domain)
		if best == "" || moreSpecific(host, best) {
			best, out = host, nil
		}
		if host == best {
			out = append(out, o)
		}
	}
	return out
}

func moreSpecific(a, b string) bool {
	x, y := strings.HasPrefix(a, "*"), strings.HasPrefix(b, "*")
	if x != y {
		return y
	}
	return len(a) > len(b)
}
