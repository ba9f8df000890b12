package istio

import (
	"fmt"
	"slices"
	"strings"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// Reasons of problems with the users' Istio objects; each is a conflict.
const (
	// ReasonHostConflict is a VirtualService, or a route of the Gateway API, that routes the Service's host already.
	ReasonHostConflict = "HostConflict"
	// ReasonRuleConflict is a DestinationRule beside which ours would not reach every client, or would take something away.
	ReasonRuleConflict = "DestinationRuleConflict"
	// ReasonNameTaken is an object with the name of ours that grayscale did not write.
	ReasonNameTaken = "NameTaken"
)

// HostProblems names the VirtualServices and the routes of the Gateway API that hold the Service's host for sidecars in place of
// ours. Of two VirtualServices, Istio follows those that are exported to named namespaces first, then the older; so a wildcard over the host is a conflict
// like any other: ours would take its requests and, if it is older, it would keep its connections. ours is the object
// with our name, nil before the first write: any other is older then.
func HostProblems(s release.Service, domain string, others []*networkingv1.VirtualService, routes []MeshRoute, ours *networkingv1.VirtualService) []intent.Problem {
	var out []intent.Problem
	if ours != nil && !Ours(ours) {
		out = append(out, nameTaken("VirtualService", s))
	}
	for _, o := range sorted(others) {
		named := o.Namespace == s.Namespace && o.Name == Name(s.Name)
		switch {
		case named && !Ours(o) && len(out) == 0:
			out = append(out, nameTaken("VirtualService", s))
		case named || !inMesh(o) || slices.Contains(o.Spec.ExportTo, "~") || listedHost(o, Host(s, domain), domain) == "":
		case ours != nil && Ours(ours) && isPublic(o.Spec.ExportTo) && byAge(ours, o) < 0:
		default:
			out = append(out, hostConflict(o, Host(s, domain), domain))
		}
	}
	return append(out, meshRouteProblems(s, routes, ours)...)
}

func nameTaken(what string, s release.Service) intent.Problem {
	return intent.Problem{Kind: intent.Conflict, Reason: ReasonNameTaken,
		Message: fmt.Sprintf("%s %s/%s has the name that the release needs, but grayscale did not write it", what, s.Namespace, Name(s.Name)),
		Fix:     "rename it"}
}

func inMesh(vs *networkingv1.VirtualService) bool {
	return len(vs.Spec.Gateways) == 0 || slices.Contains(vs.Spec.Gateways, mesh)
}

// hostConflict names the host as the VirtualService lists it: that is what its owner finds there.
func hostConflict(o *networkingv1.VirtualService, fqdn, domain string) intent.Problem {
	listed, by := listedHost(o, fqdn, domain), ""
	if listed != fqdn {
		by = fmt.Sprintf(", by its host %q", listed)
	}
	fix := fmt.Sprintf("remove host %q from it", listed)
	if strings.HasPrefix(listed, "*") {
		fix = fmt.Sprintf("list the hosts that it needs in place of %q in it", listed)
	}
	if len(o.Spec.Gateways) > 0 {
		fix += ", or the gateway mesh"
	}
	return intent.Problem{Kind: intent.Conflict, Reason: ReasonHostConflict,
		Message: fmt.Sprintf("VirtualService %s/%s routes host %s in the mesh already%s", o.Namespace, o.Name, fqdn, by),
		Fix:     fix + "; grayscale never edits it"}
}

// listedHost is the first of a VirtualService's hosts that takes in the FQDN; empty where none does.
func listedHost(vs *networkingv1.VirtualService, fqdn, domain string) string {
	for _, h := range vs.Spec.Hosts {
		if slices.ContainsFunc(routeHosts(h, vs.Namespace, domain), func(key string) bool { return covers(key, fqdn) }) {
			return h
		}
	}
	return ""
}

// RuleProblems names the users' DestinationRules beside which ours would not apply to every client of the Service, or
// would take away what they have now. version is the candidate's, stable that of stable; empty where there is none.
func RuleProblems(s release.Service, domain string, others []*networkingv1.DestinationRule, root, version, stable string) []intent.Problem {
	var out []intent.Problem
	n := neighboursOf(s, domain, others, root)
	for _, o := range sorted(others) {
		if o.Namespace == s.Namespace && o.Name == Name(s.Name) && !OursRule(o) {
			out = append(out, nameTaken("DestinationRule", s))
			continue
		}
		if what, fix := n.conflict(o, version, stable); what != "" {
			out = append(out, intent.Problem{Kind: intent.Conflict, Reason: ReasonRuleConflict,
				Message: fmt.Sprintf("DestinationRule %s/%s for host %s %s", o.Namespace, o.Name, o.Spec.Host, what), Fix: fix})
		}
	}
	return out
}

// conflict says what is wrong with a rule and what to do about it; nothing for one that does no harm.
func (n neighbours) conflict(o *networkingv1.DestinationRule, version, stable string) (what, fix string) {
	switch {
	case slices.Contains(n.local, o) && o.Spec.WorkloadSelector != nil:
		return "has a workloadSelector: the clients that it selects would not know the subsets of the release",
			"remove the workloadSelector, or the rule"
	case slices.Contains(n.local, o):
		fix = "move it to the Service's namespace"
		if strings.HasPrefix(o.Spec.Host, "*") {
			fix = "name the hosts that it needs in place of the wildcard"
		}
		return fmt.Sprintf("hides every other rule for it from clients in namespace %s: they would not know the subsets of the release", o.Namespace), fix
	case slices.Contains(n.merged, o):
		if what, fix = exportConflict(o, n.merged[0]); what != "" {
			return what, fix
		}
		return subsetConflict(o, version, stable)
	case len(n.merged) == 0 && slices.Contains(n.displaced, o):
		if len(o.Spec.Subsets) > 0 {
			return "has subsets, which the release would take away from those who route to them",
				"name the Service's own host in it, in the Service's namespace"
		}
		return exportConflict(o, n.displaced[0])
	}
	return "", ""
}

// exportConflict: the VirtualService sends the clients of every namespace to the subsets, so all must know them. Rules of
// one namespace that do not say literally the same are not merged: the younger replaces the older.
func exportConflict(o, first *networkingv1.DestinationRule) (what, fix string) {
	switch {
	case !isPublic(o.Spec.ExportTo):
		return fmt.Sprintf("has exportTo %q: clients in other namespaces would not know the subsets of the release", o.Spec.ExportTo),
			`remove exportTo, or set it to ["*"]`
	case !slices.Equal(o.Spec.ExportTo, first.Spec.ExportTo):
		return fmt.Sprintf("has exportTo %q where DestinationRule %s has %q: Istio does not merge the two", o.Spec.ExportTo, first.Name, first.Spec.ExportTo),
			"write the same exportTo in both"
	}
	return "", ""
}

// subsetConflict: of two subsets with one name Istio takes the older rule's, which does no harm where it means the same.
func subsetConflict(o *networkingv1.DestinationRule, version, stable string) (what, fix string) {
	for _, sub := range o.Spec.Subsets {
		differs := func(v string) bool { return v != "" && sub.GetName() == SubsetName(v) && !means(sub, v) }
		what = fmt.Sprintf("has a subset %q with other labels than version: ", sub.GetName())
		switch {
		case differs(version):
			return what + version, "rename that subset, or give the candidate another version"
		case differs(stable):
			return what + stable + ", which is stable's version", fmt.Sprintf("rename that subset, or give it the label version: %s alone", stable)
		}
	}
	return "", ""
}
