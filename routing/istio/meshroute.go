package istio

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// Kinds of the Gateway API that istiod turns into a VirtualService of its own where a Service is their parent (istio
// pilot/pkg/config/kube/gateway/route_collections.go). It does so with TLSRoutes as well, but these take the connections of
// TLS ports alone, and no release is behind a Service that has one (PortProblems). It reads no UDPRoutes.
const (
	HTTPRoute = "HTTPRoute"
	GRPCRoute = "GRPCRoute"
	TCPRoute  = "TCPRoute"
)

// MeshRoute is what of a route of the Gateway API matters to a release: which Services' clients it is for, and since when.
type MeshRoute struct {
	Kind      string       `json:"kind"`
	Namespace string       `json:"namespace"`
	Name      string       `json:"name"`
	CreatedAt time.Time    `json:"createdAt,omitzero"`
	Parents   []MeshParent `json:"parents"`
}

// MeshParent is a parentRef to a Service. istiod does not read its sectionName.
type MeshParent struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Port      int32  `json:"port,omitempty"` // zero means all ports
}

// meshRouteProblems names the routes of the Gateway API that sidecars follow in place of ours. Clients in such a route's own
// namespace do so whatever its age (istio pilot/pkg/model/virtualservice.go, SelectVirtualServices). Of others' clients, HTTP
// and gRPC routes only take those of the Service in their own namespace (pilot/pkg/networking/core/route/route.go,
// buildSidecarVirtualHostsForVirtualService), TCP routes all; both only where they are older than ours.
func meshRouteProblems(s release.Service, routes []MeshRoute, ours *networkingv1.VirtualService) []intent.Problem {
	var out []intent.Problem
	for _, r := range slices.SortedFunc(slices.Values(routes), byAgeAndName) {
		if !r.routes(s) {
			continue
		}
		younger := ours != nil && Ours(ours) && r.CreatedAt.After(ours.CreationTimestamp.Time)
		whose := "in the mesh already"
		if younger || r.Kind != TCPRoute && r.Namespace != s.Namespace {
			whose = fmt.Sprintf("for clients in namespace %s, in place of a release", r.Namespace)
		}
		out = append(out, intent.Problem{Kind: intent.Conflict, Reason: ReasonHostConflict,
			Message: fmt.Sprintf("%s %s/%s routes Service %s/%s %s", r.Kind, r.Namespace, r.Name, s.Namespace, s.Name, whose),
			Fix:     "remove its parentRef to that Service; grayscale never edits it"})
	}
	return out
}

// routes reports whether the route takes something of what clients send to the Service.
func (r MeshRoute) routes(s release.Service) bool {
	return slices.ContainsFunc(r.Parents, func(of MeshParent) bool {
		return of.Namespace == s.Namespace && of.Name == s.Name && slices.ContainsFunc(s.Ports, func(p release.Port) bool {
			return (of.Port == 0 || of.Port == p.Number) && r.takes(kindOf(p))
		})
	})
}

func (r MeshRoute) takes(port kind) bool {
	if r.Kind == TCPRoute {
		return carriesConnections(port)
	}
	return carriesRequests(port)
}

func byAgeAndName(a, b MeshRoute) int {
	return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}
