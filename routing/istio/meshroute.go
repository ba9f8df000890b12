package istio

import (
	"slices"
	"time"

	"grayscale.dev/grayscale/routing/release"
)

// Kinds of the Gateway API that istiod turns into a VirtualService of its own where a Service is their parent (istio
// pilot/pkg/config/kube/gateway/route_collections.go). It does so with TLSRoutes as well, but these take the
// connections of TLS ports alone, and no release is behind a Service that has one (Mesh.PortProblems). It reads no
// UDPRoutes.
const (
	HTTPRoute = "HTTPRoute"
	GRPCRoute = "GRPCRoute"
	TCPRoute  = "TCPRoute"
)

// MeshRoute is what of a route of the Gateway API matters to a release: which Services' clients it is for, and since
// when.
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

// routes reports whether the route takes something of what clients send to the Service.
func (r MeshRoute) routes(s release.Service) bool {
	return slices.ContainsFunc(r.Parents, func(of MeshParent) bool {
		return of.Namespace == s.Namespace && of.Name == s.Name && slices.ContainsFunc(s.Ports, func(p release.Port) bool {
			return (of.Port == 0 || of.Port == p.Number) && r.takes(protocolOf(p))
		})
	})
}

func (r MeshRoute) takes(port protocol) bool {
	if r.Kind == TCPRoute {
		return carriesConnections(port)
	}
	return carriesRequests(port)
}
