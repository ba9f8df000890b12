package istio

import (
	"encoding/json"
	"slices"

	"istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// routeName is what Istio calls the route of a host without a VirtualService: with it, access logs and EnvoyFilters
// that go by the name see no difference (istio pilot/pkg/networking/core/route/route.go, DefaultRouteName).
const routeName = "default"

// VirtualService is the whole object that asks Envoy for the traffic and remembers the state. current is the one in the
// cluster or nil; its resourceVersion is kept, so that what was decided from a stale copy is refused.
//
// A route names its port only where another one could take its place. Without a name every client follows it: istiod
// leaves routes with a port out of what a sidecar serves as an HTTP proxy (istio
// pilot/pkg/networking/core/route/route.go, TranslateRoute).
func VirtualService(s release.Service, domain string, t release.Traffic, st release.State, current *networkingv1.VirtualService) *networkingv1.VirtualService {
	vs := &networkingv1.VirtualService{TypeMeta: metav1.TypeMeta{APIVersion: apiVersion, Kind: "VirtualService"}, ObjectMeta: objectMeta(s, st)}
	if current != nil {
		vs.ResourceVersion = current.ResourceVersion
	}
	vs.Spec.Hosts = []string{Host(s, domain)}
	vs.Spec.Gateways = []string{mesh}
	vs.Spec.ExportTo = slices.Clone(s.ExportTo) // clients who do not know the Service would be led to subsets that they lack
	for _, p := range s.Ports {
		k, to := kindOf(p), target{Host(s, domain), uint32(p.Number)}
		if carriesRequests(k) {
			vs.Spec.Http = append(vs.Spec.Http, to.requests(t, st.Bypasses, requestsPort(s, p))...)
		}
		if carriesConnections(k) {
			vs.Spec.Tcp = append(vs.Spec.Tcp, to.connections(t, st.Bypasses, connectionsPort(s, p))...)
		}
	}
	return vs
}

// requestsPort is the port that a route for requests names; zero for none. A lone one names none.
func requestsPort(s release.Service, p release.Port) uint32 {
	return unlessAlone(s, p, carriesRequests)
}

// connectionsPort is the port that a route for connections names; zero for none. One beside other ports names its own.
func connectionsPort(s release.Service, p release.Port) uint32 {
	return unlessAlone(s, p, func(k kind) bool { return k != unrouted })
}

func unlessAlone(s release.Service, p release.Port, counts func(kind) bool) uint32 {
	n := 0
	for _, o := range s.Ports {
		if counts(kindOf(o)) {
			n++
		}
	}
	if n == 1 {
		return 0
	}
	return uint32(p.Number)
}

// target is one port of the Service.
type target struct {
	host string
	port uint32
}

func (to target) destination(version string) *v1alpha3.Destination {
	d := to.whole()
	d.Subset = SubsetName(version)
	return d
}

// whole is the Service as it is without a release.
func (to target) whole() *v1alpha3.Destination {
	return &v1alpha3.Destination{Host: to.host, Port: &v1alpha3.PortSelector{Number: to.port}}
}

// requests are a port's routes: first that of the clients that are led past the subsets, where there are any, then that of
// all others, which is the same with and without it.
func (to target) requests(t release.Traffic, bypasses []release.Bypass, port uint32) []*v1alpha3.HTTPRoute {
	r := &v1alpha3.HTTPRoute{Name: routeName}
	if port != 0 {
		r.Match = []*v1alpha3.HTTPMatchRequest{{Port: port}}
	}
	for i, w := range integers(t.Weights) {
		r.Route = append(r.Route, &v1alpha3.HTTPRouteDestination{Destination: to.destination(t.Weights[i].Version), Weight: w})
	}
	for _, m := range t.Mirrors {
		r.Mirrors = append(r.Mirrors, &v1alpha3.HTTPMirrorPolicy{
			Destination: to.destination(m.Version), Percentage: &v1alpha3.Percent{Value: float64(m.Share) / 100}})
	}
	if len(bypasses) == 0 {
		return []*v1alpha3.HTTPRoute{r}
	}
	past := &v1alpha3.HTTPRoute{Name: routeName, Route: []*v1alpha3.HTTPRouteDestination{{Destination: to.whole()}}}
	for _, c := range bypasses {
		past.Match = append(past.Match, &v1alpha3.HTTPMatchRequest{SourceNamespace: c.Namespace, SourceLabels: c.Labels, Port: port})
	}
	if matchesAll(bypasses) {
		past.Match = []*v1alpha3.HTTPMatchRequest{{Port: port, Gateways: []string{mesh}}}
	}
	return []*v1alpha3.HTTPRoute{past, r}
}

// connections are requests' like for a port that carries connections.
func (to target) connections(t release.Traffic, bypasses []release.Bypass, port uint32) []*v1alpha3.TCPRoute {
	r := &v1alpha3.TCPRoute{}
	if port != 0 {
		r.Match = []*v1alpha3.L4MatchAttributes{{Port: port}}
	}
	for i, w := range integers(t.Weights) {
		r.Route = append(r.Route, &v1alpha3.RouteDestination{Destination: to.destination(t.Weights[i].Version), Weight: w})
	}
	if len(bypasses) == 0 {
		return []*v1alpha3.TCPRoute{r}
	}
	past := &v1alpha3.TCPRoute{Route: []*v1alpha3.RouteDestination{{Destination: to.whole()}}}
	for _, c := range bypasses {
		past.Match = append(past.Match, &v1alpha3.L4MatchAttributes{SourceNamespace: c.Namespace, SourceLabels: c.Labels, Port: port})
	}
	if matchesAll(bypasses) {
		past.Match = []*v1alpha3.L4MatchAttributes{{Port: port, Gateways: []string{mesh}}}
	}
	return []*v1alpha3.TCPRoute{past, r}
}

// matchesAll: no client gets the split. The match that all clients of the mesh meet is written out then, because Istio warns of
// a route without one before another.
func matchesAll(bypasses []release.Bypass) bool {
	return slices.ContainsFunc(bypasses, func(b release.Bypass) bool { return b.Everybody() })
}

// integers are Istio's weights: percents, or hundredths of a percent where any share has decimals. A lone destination
// has no weight: Istio then writes the route that it writes without a VirtualService.
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

// objectMeta is what both derived objects have in common. They go with their Service; without blockOwnerDeletion,
// which would need rights over the Service.
func objectMeta(s release.Service, state any) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: s.Namespace, Name: Name(s.Name),
		Labels:          map[string]string{ManagedBy: Manager},
		Annotations:     map[string]string{intent.KeyState: stateJSON(state)},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Service", Name: s.Name, UID: types.UID(s.UID)}},
	}
}

func stateJSON(state any) string {
	raw, err := json.Marshal(state)
	if err != nil {
		panic(err) // strings, numbers and times of four-digit years cannot fail
	}
	return string(raw)
}

// Remember replaces the state that the VirtualService carries; its routes stay as they are.
func Remember(vs *networkingv1.VirtualService, st release.State) {
	vs.Annotations[intent.KeyState] = stateJSON(st)
}

// RememberSubsets replaces the state that the DestinationRule carries; its subsets stay as they are.
func RememberSubsets(dr *networkingv1.DestinationRule, sub release.Subsets) {
	dr.Annotations[intent.KeyState] = stateJSON(sub)
}
