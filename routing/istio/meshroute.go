package istio

import (
	"slices"
	"time"

	"grayscale.dev/grayscale/routing/release"
)

// Kinds of the Gateway API that istiod turns into a VirtualService if a Service is their parent (istio
// pilot/pkg/config/kube/gateway/route_collections.go). It does the same with TLSRoutes, but these only take the
// connections of TLS ports, and no release is possible behind a Service that has one (Mesh.PortProblems). It does not
// read UDPRoutes.
const (
	HTTPRoute = "HTTPRoute"
	GRPCRoute = "GRPCRoute"
	TCPRoute  = "TCPRoute"
)

// MeshRoute is the part of a Gateway API route that matters to a release: which Services' clients it is for, and since
// when.
type MeshRoute struct {
	Kind      string       `json:"kind"`
	Namespace string       `json:"namespace"`
	Name      string       `json:"name"`
	CreatedAt time.Time    `json:"createdAt,omitzero"`
	Parents   []MeshParent `json:"parents"`
}

// MeshParent is a parentRef to a Service. istiod ignores its sectionName.
type MeshParent struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Port      int32  `json:"port,omitempty"` // zero means all ports
}

// routes reports whether the route takes some of the traffic that clients send to the Service.
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
