package istio

import (
	"slices"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

// This file holds what callers use that do not have a mesh.Backend yet. Each goes with its last caller.

// Reasons of problems that Istio has with a release.
const (
	ReasonUnroutableService = mesh.ReasonUnroutableService
	ReasonNoRoutablePort    = mesh.ReasonNoRoutablePort
	ReasonTLSPort           = mesh.ReasonTLSPort
	ReasonMirrorNeedsHTTP   = mesh.ReasonMirrorNeedsHTTP
	ReasonHostConflict      = mesh.ReasonHostConflict
	ReasonRuleConflict      = mesh.ReasonRuleConflict
	ReasonNameTaken         = mesh.ReasonNameTaken
)

// ManagedBy is mesh.ManagedBy.
const ManagedBy = mesh.ManagedBy

// Blind are clients that lack our subsets.
type Blind struct {
	release.Clients
	// Rules are the users' rules that Istio shows them, as namespace/name; empty where it is ours alone, edited.
	Rules []string
}

// Name is mesh.Name.
func Name(service string) string { return mesh.Name(service) }

// Ours is mesh.Ours.
func Ours(vs *networkingv1.VirtualService) bool { return mesh.Ours(vs) }

// OursRule is mesh.Ours.
func OursRule(dr *networkingv1.DestinationRule) bool { return mesh.Ours(dr) }

// ReadState is mesh.ReadState.
func ReadState(vs *networkingv1.VirtualService) (release.State, bool) { return mesh.ReadState(vs) }

// Remember is mesh.Remember.
func Remember(vs *networkingv1.VirtualService, st release.State) { mesh.Remember(vs, st) }

// RememberSubsets is mesh.Remember.
func RememberSubsets(dr *networkingv1.DestinationRule, sub release.Subsets) { mesh.Remember(dr, sub) }

// VirtualService is the object of Mesh.RenderRoutes.
func VirtualService(s release.Service, domain string, t release.Traffic, st release.State,
	current *networkingv1.VirtualService) *networkingv1.VirtualService {
	m := Mesh{Service: s, ClusterDomain: domain, VirtualService: current}
	return m.virtualService(mesh.Rules(t, st.Bypasses), st)
}

// EqualVirtualService is the Same of Mesh.RenderRoutes.
func EqualVirtualService(got, want *networkingv1.VirtualService) bool {
	return equalVirtualService(got, want)
}

// NamesPorts is the Upgrades of Mesh.RenderRoutes.
func NamesPorts(got, want *networkingv1.VirtualService) bool { return namedPorts(got, want) }

// DestinationRule is the object of Mesh.RenderSubsets.
func DestinationRule(s release.Service, domain string, sub release.Subsets, others []*networkingv1.DestinationRule,
	root string, current *networkingv1.DestinationRule) *networkingv1.DestinationRule {
	m := Mesh{Service: s, ClusterDomain: domain, RootNamespace: root, DestinationRule: current,
		OtherDestinationRules: others}
	return m.destinationRule(sub)
}

// EqualDestinationRule is the Same of Mesh.RenderSubsets.
func EqualDestinationRule(got, want *networkingv1.DestinationRule) bool {
	return equalDestinationRule(got, want)
}

// HasSubset is the Has of Mesh.Subsets.
func HasSubset(dr *networkingv1.DestinationRule, version string) bool {
	return slices.Contains(versionsOf(dr), version)
}

// HostProblems is Mesh.HostProblems.
func HostProblems(s release.Service, domain string, others []*networkingv1.VirtualService, routes []MeshRoute,
	ours *networkingv1.VirtualService) []intent.Problem {
	m := Mesh{Service: s, ClusterDomain: domain, VirtualService: ours, OtherVirtualServices: others, MeshRoutes: routes}
	return m.HostProblems()
}

// RuleProblems is Mesh.SubsetProblems.
func RuleProblems(s release.Service, domain string, others []*networkingv1.DestinationRule,
	root, version, stable string) []intent.Problem {
	m := Mesh{Service: s, ClusterDomain: domain, RootNamespace: root, OtherDestinationRules: others}
	return m.SubsetProblems(version, stable)
}

// PortProblems is Mesh.PortProblems.
func PortProblems(s release.Service, mirror bool) []intent.Problem {
	return Mesh{Service: s}.PortProblems(mirror)
}

// Routable is Mesh.Routable.
func Routable(s release.Service) bool { return Mesh{Service: s}.Routable() }

// BlindClients is Mesh.Blind.
func BlindClients(s release.Service, domain string, ours *networkingv1.DestinationRule,
	others []*networkingv1.DestinationRule, root string, versions []string) []Blind {
	m := Mesh{Service: s, ClusterDomain: domain, RootNamespace: root, DestinationRule: ours, OtherDestinationRules: others}
	var out []Blind
	for _, b := range m.Blind(versions) {
		out = append(out, Blind{b.Clients, b.Objects})
	}
	return out
}
