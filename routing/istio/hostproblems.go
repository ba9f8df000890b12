package istio

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/mesh"
)

// HostProblems name the VirtualServices, and the routes of the Gateway API, that sidecars follow instead of ours. Of
// two VirtualServices, Istio prefers those that are exported to named namespaces, then the older one. So a wildcard
// over the host is a conflict like any other: our VirtualService would take its requests and, if the wildcard is older,
// the wildcard would keep its connections. As long as ours does not exist, every other one is older.
func (m Mesh) HostProblems() []intent.Problem {
	var out []intent.Problem
	ours := m.VirtualService
	if ours != nil && !mesh.Ours(ours) {
		out = append(out, m.nameTaken(kindVirtualService))
	}
	for _, o := range sorted(m.OtherVirtualServices) {
		named := m.hasNameOfOurs(o)
		switch {
		case named && !mesh.Ours(o) && len(out) == 0:
			out = append(out, m.nameTaken(kindVirtualService))
		case named || !inMesh(o) || slices.Contains(o.Spec.ExportTo, "~") || m.listedHost(o) == "":
		case ours != nil && mesh.Ours(ours) && isPublic(o.Spec.ExportTo) && byAge(ours, o) < 0:
		default:
			out = append(out, m.hostConflict(o))
		}
	}
	return append(out, m.meshRouteProblems()...)
}

func inMesh(vs *networkingv1.VirtualService) bool {
	return len(vs.Spec.Gateways) == 0 || slices.Contains(vs.Spec.Gateways, meshGateway)
}

// hostConflict names the host as the VirtualService lists it, so that its owner can find it there.
func (m Mesh) hostConflict(o *networkingv1.VirtualService) intent.Problem {
	listed, by := m.listedHost(o), ""
	if listed != m.host() {
		by = fmt.Sprintf(", by its host %q", listed)
	}
	fix := fmt.Sprintf("remove host %q from it", listed)
	if strings.HasPrefix(listed, "*") {
		fix = fmt.Sprintf("list the hosts that it needs in place of %q in it", listed)
	}
	if len(o.Spec.Gateways) > 0 {
		fix += ", or the gateway mesh"
	}
	return intent.Problem{Kind: intent.Conflict, Reason: mesh.ReasonHostConflict,
		Message: fmt.Sprintf("VirtualService %s/%s routes host %s in the mesh already%s", o.Namespace, o.Name, m.host(), by),
		Fix:     fix + "; grayscale never edits it"}
}

// listedHost is the first host of a VirtualService that covers the Service's; empty if none does.
func (m Mesh) listedHost(vs *networkingv1.VirtualService) string {
	coversIt := func(host string) bool { return covers(host, m.host()) }
	for _, h := range vs.Spec.Hosts {
		if slices.ContainsFunc(routeHosts(h, vs.Namespace, m.ClusterDomain), coversIt) {
			return h
		}
	}
	return ""
}

// meshRouteProblems name the routes of the Gateway API that sidecars follow instead of ours. Clients in such a route's
// own namespace follow it whatever its age (istio pilot/pkg/model/virtualservice.go, SelectVirtualServices). Other
// clients follow HTTP and gRPC routes only if these are in the Service's namespace
// (pilot/pkg/networking/core/route/route.go, buildSidecarVirtualHostsForVirtualService), and TCP routes from anywhere;
// both only if they are older than ours.
func (m Mesh) meshRouteProblems() []intent.Problem {
	var out []intent.Problem
	s, ours := m.Service, m.VirtualService
	for _, r := range slices.SortedFunc(slices.Values(m.MeshRoutes), byAgeAndName) {
		if !r.routes(s) {
			continue
		}
		younger := ours != nil && mesh.Ours(ours) && r.CreatedAt.After(ours.CreationTimestamp.Time)
		whose := "in the mesh already"
		if younger || r.Kind != TCPRoute && r.Namespace != s.Namespace {
			whose = fmt.Sprintf("for clients in namespace %s, in place of a release", r.Namespace)
		}
		out = append(out, intent.Problem{Kind: intent.Conflict, Reason: mesh.ReasonHostConflict,
			Message: fmt.Sprintf("%s %s/%s routes Service %s/%s %s", r.Kind, r.Namespace, r.Name, s.Namespace, s.Name, whose),
			Fix:     "remove its parentRef to that Service; grayscale never edits it"})
	}
	return out
}

func byAgeAndName(a, b MeshRoute) int {
	return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.Kind, b.Kind),
		cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}
