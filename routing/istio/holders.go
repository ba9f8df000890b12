package istio

import (
	"fmt"
	"slices"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// Reasons of problems with other Istio objects.
const (
	ReasonHostConflict = "HostConflict"
	ReasonRuleConflict = "DestinationRuleConflict"
)

// HostKeys are the hosts that a VirtualService or DestinationRule names, resolved: fully qualified names or wildcards.
func HostKeys(obj any, domain string) []string {
	switch o := obj.(type) {
	case *networkingv1.VirtualService:
		out := make([]string, len(o.Spec.Hosts))
		for i, h := range o.Spec.Hosts {
			out[i] = resolve(h, o.Namespace, domain)
		}
		return out
	case *networkingv1.DestinationRule:
		return []string{resolve(o.Spec.Host, o.Namespace, domain)}
	}
	return nil
}

// HostProblems names the VirtualService that holds the Service's host for sidecars, where that is not ours. Of two for one
// host Istio takes the older (pilot/pkg/model/push_context.go sorts them so), and so do we; one with a
// wildcard over the host would lose it to ours, so it is a conflict whatever its age. ours is nil before the first write.
func HostProblems(s release.Service, domain string, others []*networkingv1.VirtualService, ours *networkingv1.VirtualService) []intent.Problem {
	var out []intent.Problem
	for _, o := range others {
		if !inMesh(o) || !visible(o.Spec.ExportTo, o.Namespace, s.Namespace) || !holdsHost(o, Host(s, domain), domain) {
			continue
		}
		if ours != nil && Ours(ours) && olderObject(&ours.ObjectMeta, &o.ObjectMeta) {
			continue
		}
		out = append(out, intent.Problem{Kind: intent.Conflict, Reason: ReasonHostConflict,
			Message: fmt.Sprintf("VirtualService %s/%s routes host %s in the mesh already", o.Namespace, o.Name, Host(s, domain)),
			Fix:     "remove that host from it, or its gateway mesh; grayscale never edits it"})
	}
	return out
}

func inMesh(vs *networkingv1.VirtualService) bool {
	return len(vs.Spec.Gateways) == 0 || slices.Contains(vs.Spec.Gateways, mesh)
}

// visible: exportTo "." keeps an object to clients of its own namespace, "~" to none.
func visible(exportTo []string, own, namespace string) bool {
	return len(exportTo) == 0 || slices.Contains(exportTo, "*") || slices.Contains(exportTo, namespace) ||
		own == namespace && slices.Contains(exportTo, ".")
}

func holdsHost(vs *networkingv1.VirtualService, fqdn, domain string) bool {
	return slices.ContainsFunc(vs.Spec.Hosts, func(h string) bool { return covers(resolve(h, vs.Namespace, domain), fqdn) })
}

// RuleProblems names the users' DestinationRules beside which ours would not apply to every client. versions are those
// that the release needs subsets for.
func RuleProblems(s release.Service, domain string, others []*networkingv1.DestinationRule, root string, versions []string) []intent.Problem {
	var out []intent.Problem
	merged := mergedRule(s, domain, others)
	for _, o := range others {
		host := resolve(o.Spec.Host, o.Namespace, domain)
		if !covers(host, Host(s, domain)) {
			continue
		}
		why := ruleConflict(s, o, merged, host == Host(s, domain), root)
		if why == "" && o == merged {
			why = subsetConflict(o, versions)
		}
		if why != "" {
			out = append(out, intent.Problem{Kind: intent.Conflict, Reason: ReasonRuleConflict,
				Message: fmt.Sprintf("DestinationRule %s/%s for host %s %s", o.Namespace, o.Name, o.Spec.Host, why),
				Fix:     "merge it into one rule for the host in the Service's namespace, without these"})
		}
	}
	return out
}

func ruleConflict(s release.Service, o, merged *networkingv1.DestinationRule, exact bool, root string) string {
	switch {
	case o.Spec.WorkloadSelector != nil:
		return "has a workloadSelector: the clients that it selects would not know the subsets of the release"
	case o.Namespace != s.Namespace && o.Namespace != root:
		return "is in a client's namespace: clients there would not know the subsets of the release"
	case o.Namespace == s.Namespace && exact && o != merged && !slices.Equal(o.Spec.ExportTo, merged.Spec.ExportTo):
		return fmt.Sprintf("has another exportTo than DestinationRule %s: Istio does not merge the two", merged.Name)
	}
	return ""
}

// subsetConflict: of two subsets with one name Istio takes the older rule's, which is harmless only where it means the same.
func subsetConflict(o *networkingv1.DestinationRule, versions []string) string {
	for _, sub := range o.Spec.Subsets {
		for _, v := range versions {
			if sub.Name == SubsetName(v) && (len(sub.Labels) != 1 || sub.Labels[release.VersionLabel] != v) {
				return fmt.Sprintf("has subset %q with other labels than version: %s", sub.Name, v)
			}
		}
	}
	return ""
}
