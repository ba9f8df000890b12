package istio

import (
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/routing/release"
)

// DestinationRule is the whole object that tells Envoy the subsets. others are the users' rules for the host, root is
// Istio's root namespace. Istio merges ours with a user's for the same host and namespace where both say literally
// the same exportTo, so that is copied where it is public; where ours displaces another rule, that one's trafficPolicy is carried over.
// current is the one in the cluster or nil; its resourceVersion is kept.
func DestinationRule(s release.Service, domain string, sub release.Subsets, others []*networkingv1.DestinationRule, root string,
	current *networkingv1.DestinationRule) *networkingv1.DestinationRule {
	dr := &networkingv1.DestinationRule{TypeMeta: metav1.TypeMeta{APIVersion: apiVersion, Kind: "DestinationRule"}, ObjectMeta: objectMeta(s, sub)}
	if current != nil {
		dr.ResourceVersion = current.ResourceVersion
	}
	dr.Spec.Host = Host(s, domain)
	for _, version := range slices.Sorted(maps.Keys(sub.Added)) {
		dr.Spec.Subsets = append(dr.Spec.Subsets, &v1alpha3.Subset{
			Name: SubsetName(version), Labels: map[string]string{release.VersionLabel: version}})
	}
	n := neighboursOf(s, domain, others, root)
	if len(n.merged) > 0 {
		dr.Spec.ExportTo = exportTo(s, domain, dr, current, n.merged, others, root)
		return dr
	}
	if current != nil && isPublic(current.Spec.ExportTo) {
		dr.Spec.ExportTo = slices.Clone(current.Spec.ExportTo) // it means the same, and a rule that comes again is merged at once
	}
	if policy := n.displacedPolicy(); policy != nil {
		dr.Spec.TrafficPolicy = proto.CloneOf(policy)
	}
	return dr
}

// exportTo is what ours says where Istio merges it with users' rules: what one of these says, the oldest first, or what it
// says already, so that no client lacks our subsets. It is never private: the VirtualService is for all namespaces.
func exportTo(s release.Service, domain string, dr, current *networkingv1.DestinationRule, merged, others []*networkingv1.DestinationRule, root string) []string {
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
	sub, _ := ReadSubsets(dr)
	versions := slices.Sorted(maps.Keys(sub.Added))
	choices = slices.DeleteFunc(append(choices, nil), func(to []string) bool { return !isPublic(to) })
	for _, to := range choices {
		if trial.Spec.ExportTo = to; len(BlindClients(s, domain, trial, others, root, versions)) == 0 {
			return slices.Clone(to)
		}
	}
	if current != nil && isPublic(current.Spec.ExportTo) {
		return slices.Clone(current.Spec.ExportTo)
	}
	return slices.Clone(choices[0])
}

// youngest is the age of a rule that is still to be written.
var youngest = metav1.NewTime(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))

// neighbours are the users' DestinationRules about a Service's host, each list by age, by what becomes of them beside
// ours (istio pilot/pkg/model/push_context.go, destinationRule and setDestinationRules).
type neighbours struct {
	// merged are for exactly the host, in the Service's namespace: Istio makes one rule of them and ours.
	merged []*networkingv1.DestinationRule
	// displaced are what clients follow where there is neither ours nor a merged one: those for the nearest wildcard in
	// the Service's namespace, or else those for the host or the nearest wildcard in the root namespace.
	displaced []*networkingv1.DestinationRule
	// local are known only to some clients, which see them instead of ours.
	local []*networkingv1.DestinationRule
}

func neighboursOf(s release.Service, domain string, others []*networkingv1.DestinationRule, root string) neighbours {
	var n neighbours
	var wildcards, roots []*networkingv1.DestinationRule
	for _, o := range sorted(others) {
		host := resolve(o.Spec.Host, o.Namespace, domain)
		switch {
		case !covers(host, Host(s, domain)) || OursRule(o) && o.Name == Name(s.Name) && o.Namespace == s.Namespace:
		case isLocal(o, s.Namespace, root):
			n.local = append(n.local, o)
		case o.Namespace == s.Namespace && host == Host(s, domain):
			n.merged = append(n.merged, o)
		case o.Namespace == s.Namespace:
			wildcards = append(wildcards, o)
		case o.Namespace == root:
			roots = append(roots, o)
		}
	}
	if n.displaced = nearest(wildcards, domain); len(n.displaced) == 0 {
		n.displaced = nearest(roots, domain)
	}
	return n
}

// isLocal: some clients see this rule before they would see ours. Those are the ones that a workloadSelector selects, and
// those in the rule's own namespace if that is not the Service's and the rule is known there. Of the root namespace's
// rules only the private ones come first for the clients in it.
func isLocal(o *networkingv1.DestinationRule, namespace, root string) bool {
	to := o.Spec.ExportTo
	switch {
	case o.Spec.WorkloadSelector != nil:
		return true
	case o.Namespace == namespace:
		return false
	case o.Namespace == root:
		return len(to) == 1 && (to[0] == "." || to[0] == root)
	}
	return isPublic(to) || slices.Contains(to, ".") || slices.Contains(to, o.Namespace)
}

// nearest are the rules with the most specific host: a full name before wildcards, the longest of these first
// (istio pkg/config/host/names.go, MoreSpecific).
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

// displacedPolicy: of several rules for one host Istio takes the oldest trafficPolicy that there is.
func (n neighbours) displacedPolicy() *v1alpha3.TrafficPolicy {
	for _, o := range n.displaced {
		if o.Spec.TrafficPolicy != nil {
			return o.Spec.TrafficPolicy
		}
	}
	return nil
}
