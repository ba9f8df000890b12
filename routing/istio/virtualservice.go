package istio

import (
	"slices"

	"google.golang.org/protobuf/proto"
	"istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

// routeName is the name that Istio gives to the route of a host without a VirtualService. Access logs, and EnvoyFilters
// that use the name, see no difference (istio pilot/pkg/networking/core/route/route.go, DefaultRouteName).
const routeName = "default"

// RenderRoutes returns the VirtualService with the rules. Each rule becomes one route for each port that it applies to.
// Ports for connections get no mirrors, because connections cannot be copied.
func (m Mesh) RenderRoutes(rules []mesh.Rule, st release.State) mesh.Write {
	vs, current := m.virtualService(rules, st), m.VirtualService
	if current != nil && equalVirtualService(current, vs) {
		return mesh.Write{Object: vs, Same: true}
	}
	var before []string
	if current != nil && mesh.Ours(current) {
		before = ReferencedSubsets(current)
	}
	return mesh.Write{
		Object:         vs,
		RestsOnDerived: !containsAll(before, ReferencedSubsets(vs)),
		Upgrades:       current != nil && namedPorts(current, vs),
	}
}

// virtualService is the complete object. A route names its port only if another route could match in its place. Without
// a port it works for every client: istiod leaves out routes with a port where a sidecar serves as an HTTP proxy (istio
// pilot/pkg/networking/core/route/route.go, TranslateRoute).
func (m Mesh) virtualService(rules []mesh.Rule, st release.State) *networkingv1.VirtualService {
	vs := &networkingv1.VirtualService{
		TypeMeta:   metav1.TypeMeta{APIVersion: apiVersion, Kind: kindVirtualService},
		ObjectMeta: mesh.ObjectMeta(m.Service, st),
	}
	if m.VirtualService != nil {
		vs.ResourceVersion = m.VirtualService.ResourceVersion
	}
	vs.Spec.Hosts = []string{m.host()}
	vs.Spec.Gateways = []string{meshGateway}
	// Clients that do not know the Service would be sent to subsets that they lack.
	vs.Spec.ExportTo = slices.Clone(m.Service.ExportTo)
	for _, p := range m.Service.Ports {
		protocol, to := protocolOf(p), target{m.host(), uint32(p.Number)}
		for n, rule := range rules {
			last := n == len(rules)-1
			if carriesRequests(protocol) {
				vs.Spec.Http = append(vs.Spec.Http, to.requests(rule, matches(rule.Match, requestsPort(m.Service, p), last)))
			}
			if carriesConnections(protocol) {
				vs.Spec.Tcp = append(vs.Spec.Tcp, to.connections(rule, matches(rule.Match, connectionsPort(m.Service, p), last)))
			}
		}
	}
	return vs
}

// requestsPort is the port that a route for requests names; zero for none, if the Service has only one port for
// requests.
func requestsPort(s release.Service, p release.Port) uint32 {
	return unlessAlone(s, p, carriesRequests)
}

// connectionsPort is the port that a route for connections names; zero for none, if the Service has only one routed
// port.
func connectionsPort(s release.Service, p release.Port) uint32 {
	return unlessAlone(s, p, func(of protocol) bool { return of != unrouted })
}

func unlessAlone(s release.Service, p release.Port, counts func(protocol) bool) uint32 {
	n := 0
	for _, o := range s.Ports {
		if counts(protocolOf(o)) {
			n++
		}
	}
	if n == 1 {
		return 0
	}
	return uint32(p.Number)
}

// match is what the matches of requests and of connections have in common.
type match struct {
	port      uint32
	gateways  []string
	namespace string
	labels    map[string]string
}

// matches are the matches of a route; port is zero if it names none. A route for all clients that precedes another one
// says so in a match, because Istio warns about a route without a match that is not the last.
func matches(m mesh.Match, port uint32, last bool) []match {
	all := len(m.From) == 0
	switch {
	case all && !last, slices.ContainsFunc(m.From, release.Clients.Everybody):
		return []match{{port: port, gateways: []string{meshGateway}}}
	case all && port == 0:
		return nil
	case all:
		return []match{{port: port}}
	}
	var out []match
	for _, c := range m.From {
		out = append(out, match{port: port, namespace: c.Namespace, labels: c.Labels})
	}
	return out
}

// target is one port of the Service.
type target struct {
	host string
	port uint32
}

func (to target) requests(rule mesh.Rule, matches []match) *v1alpha3.HTTPRoute {
	r := &v1alpha3.HTTPRoute{Name: routeName}
	for _, x := range matches {
		r.Match = append(r.Match, &v1alpha3.HTTPMatchRequest{
			Port: x.port, Gateways: x.gateways, SourceNamespace: x.namespace, SourceLabels: x.labels})
	}
	for _, d := range to.destinations(rule.Weights) {
		r.Route = append(r.Route, &v1alpha3.HTTPRouteDestination{Destination: d.to, Weight: d.weight})
	}
	for _, m := range rule.Mirrors {
		r.Mirrors = append(r.Mirrors, &v1alpha3.HTTPMirrorPolicy{
			Destination: to.subset(m.Version), Percentage: &v1alpha3.Percent{Value: float64(m.Share) / 100}})
	}
	return r
}

func (to target) connections(rule mesh.Rule, matches []match) *v1alpha3.TCPRoute {
	r := &v1alpha3.TCPRoute{}
	for _, x := range matches {
		r.Match = append(r.Match, &v1alpha3.L4MatchAttributes{
			Port: x.port, Gateways: x.gateways, SourceNamespace: x.namespace, SourceLabels: x.labels})
	}
	for _, d := range to.destinations(rule.Weights) {
		r.Route = append(r.Route, &v1alpha3.RouteDestination{Destination: d.to, Weight: d.weight})
	}
	return r
}

// destination is a destination of a route, with Istio's weight.
type destination struct {
	to     *v1alpha3.Destination
	weight int32
}

func (to target) destinations(weights []release.Weight) []destination {
	if len(weights) == 0 {
		return []destination{{to: to.service()}}
	}
	out := make([]destination, len(weights))
	for i, weight := range integers(weights) {
		out[i] = destination{to.subset(weights[i].Version), weight}
	}
	return out
}

// service is the whole Service, as clients reach it without a release.
func (to target) service() *v1alpha3.Destination {
	return &v1alpha3.Destination{Host: to.host, Port: &v1alpha3.PortSelector{Number: to.port}}
}

func (to target) subset(version string) *v1alpha3.Destination {
	d := to.service()
	d.Subset = SubsetName(version)
	return d
}

// integers are Istio's weights: percents, or hundredths of a percent if any share has decimals. A single destination
// has no weight: Istio then makes the same route as without a VirtualService.
func integers(weights []release.Weight) []int32 {
	out := make([]int32, len(weights))
	if len(weights) == 1 {
		return out
	}
	unit := intent.Percent(100)
	if slices.ContainsFunc(weights, func(w release.Weight) bool { return w.Share%unit != 0 }) {
		unit = 1
	}
	for i, w := range weights {
		out[i] = int32(w.Share / unit)
	}
	return out
}

// equalVirtualService reports whether the object in the cluster already is as wanted.
func equalVirtualService(got, want *networkingv1.VirtualService) bool {
	return mesh.EqualMeta(got, want) && proto.Equal(&got.Spec, &want.Spec)
}

// namedPorts reports whether the routes in the cluster differ from the wanted ones only in naming ports, as an earlier
// grayscale wrote them.
func namedPorts(got, want *networkingv1.VirtualService) bool {
	named := want.DeepCopy()
	for i, r := range named.Spec.Http {
		if len(r.Match) == 0 && i < len(got.Spec.Http) && len(got.Spec.Http[i].GetMatch()) > 0 {
			r.Match = []*v1alpha3.HTTPMatchRequest{{Port: r.Route[0].Destination.Port.Number}}
		}
	}
	for i, r := range named.Spec.Tcp {
		if len(r.Match) == 0 && i < len(got.Spec.Tcp) && len(got.Spec.Tcp[i].GetMatch()) > 0 {
			r.Match = []*v1alpha3.L4MatchAttributes{{Port: r.Route[0].Destination.Port.Number}}
		}
	}
	return !proto.Equal(&got.Spec, &want.Spec) && proto.Equal(&got.Spec, &named.Spec)
}

func containsAll(list, of []string) bool {
	return !slices.ContainsFunc(of, func(s string) bool { return !slices.Contains(list, s) })
}
