package istio

import (
	"slices"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

// Mesh is Istio as it is configured for one Service: a mesh.Backend that writes a VirtualService for the routes and a
// DestinationRule for the subsets. It is plain data. Its objects belong to the cache and must not be changed.
type Mesh struct {
	Service release.Service `json:"-"`
	// ClusterDomain is the DNS suffix of Services. RootNamespace is the namespace of Istio's configuration for the
	// whole mesh.
	ClusterDomain string `json:"-"`
	RootNamespace string `json:"-"`
	// VirtualService and DestinationRule are the objects in the cluster that have the name of ours; nil for none.
	VirtualService  *networkingv1.VirtualService  `json:"virtualService,omitempty"`
	DestinationRule *networkingv1.DestinationRule `json:"destinationRule,omitempty"`
	// OtherVirtualServices and OtherDestinationRules are all others for the Service's host, or for a wildcard over it.
	OtherVirtualServices  []*networkingv1.VirtualService  `json:"otherVirtualServices,omitempty"`
	OtherDestinationRules []*networkingv1.DestinationRule `json:"otherDestinationRules,omitempty"`
	// ComingDestinationRules are OtherDestinationRules as they will be once the API server has made the change that it
	// asks about and waits with; nil if it asks about none.
	ComingDestinationRules []*networkingv1.DestinationRule `json:"comingDestinationRules,omitempty"`
	// MeshRoutes are the routes of the Gateway API that have the Service as a parent.
	MeshRoutes []MeshRoute `json:"meshRoutes,omitempty"`
	// Missing is true if the API server does not serve networking.istio.io/v1.
	Missing bool `json:"istioMissing,omitempty"`
}

var (
	_ mesh.Backend = Mesh{}
	_ mesh.Objects = Mesh{}
)

// For returns these objects as the Backend for the Service.
func (m Mesh) For(s release.Service, c mesh.Config) mesh.Backend {
	m.Service, m.ClusterDomain, m.RootNamespace = s, c.ClusterDomain, c.RootNamespace
	return m
}

// Kinds are VirtualService and DestinationRule.
func (m Mesh) Kinds() (routes, subsets schema.GroupVersionKind) {
	return networkingv1.SchemeGroupVersion.WithKind(kindVirtualService),
		networkingv1.SchemeGroupVersion.WithKind(kindDestinationRule)
}

// Routes are those of our VirtualService.
func (m Mesh) Routes() (mesh.Routes, bool) {
	if m.VirtualService == nil || !mesh.Ours(m.VirtualService) {
		return mesh.Routes{}, false
	}
	names := ReferencedSubsets(m.VirtualService)
	refers := func(version string) bool { return slices.Contains(names, SubsetName(version)) }
	return mesh.NewRoutes(m.VirtualService, refers), true
}

// Subsets are those of our DestinationRule.
func (m Mesh) Subsets() (mesh.Subsets, bool) {
	if m.DestinationRule == nil || !mesh.Ours(m.DestinationRule) {
		return mesh.Subsets{}, false
	}
	state, ok := ReadSubsets(m.DestinationRule)
	return mesh.Subsets{
		Object: m.DestinationRule, State: state, Damaged: !ok, Versions: versionsOf(m.DestinationRule)}, true
}

// InstallProblems say whether the custom resource definitions of Istio are missing.
func (m Mesh) InstallProblems() []intent.Problem {
	if !m.Missing {
		return nil
	}
	return []intent.Problem{{Kind: intent.Pending, Reason: mesh.ReasonNotInstalled,
		Message: "the API server does not serve " + apiVersion,
		Fix:     "install Istio's custom resource definitions; routes follow by themselves"}}
}

// host is the Service's fully qualified domain name.
func (m Mesh) host() string { return Host(m.Service, m.ClusterDomain) }
