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
	for _, p := range s.Ports {
		k, to := kindOf(p), target{Host(s, domain), uint32(p.Number)}
		if carriesRequests(k) {
			vs.Spec.Http = append(vs.Spec.Http, to.requests(t))
		}
		if carriesConnections(k) {
			vs.Spec.Tcp = append(vs.Spec.Tcp, to.connections(t))
		}
	}
	if len(vs.Spec.Http) == 1 {
		vs.Spec.Http[0].Match = nil
	}
	if len(vs.Spec.Tcp) == 1 && seen(s.Ports) == 1 {
		vs.Spec.Tcp[0].Match = nil
	}
	return vs
}

// seen is how many of the ports Envoy sees.
func seen(ports []release.Port) int {
	n := 0
	for _, p := range ports {
		if kindOf(p) != unrouted {
			n++
		}
	}
	return n
}

// target is one port of the Service.
type target struct {
	host string
	port uint32
}

func (to target) destination(version string) *v1alpha3.Destination {
	return &v1alpha3.Destination{Host: to.host, Subset: SubsetName(version), Port: &v1alpha3.PortSelector{Number: to.port}}
}

func (to target) requests(t release.Traffic) *v1alpha3.HTTPRoute {
	r := &v1alpha3.HTTPRoute{Name: routeName, Match: []*v1alpha3.HTTPMatchRequest{{Port: to.port}}}
	for i, w := range integers(t.Weights) {
		r.Route = append(r.Route, &v1alpha3.HTTPRouteDestination{Destination: to.destination(t.Weights[i].Version), Weight: w})
	}
	for _, m := range t.Mirrors {
		r.Mirrors = append(r.Mirrors, &v1alpha3.HTTPMirrorPolicy{
			Destination: to.destination(m.Version), Percentage: &v1alpha3.Percent{Value: float64(m.Share) / 100}})
	}
	return r
}

func (to target) connections(t release.Traffic) *v1alpha3.TCPRoute {
	r := &v1alpha3.TCPRoute{Match: []*v1alpha3.L4MatchAttributes{{Port: to.port}}}
	for i, w := range integers(t.Weights) {
		r.Route = append(r.Route, &v1alpha3.RouteDestination{Destination: to.destination(t.Weights[i].Version), Weight: w})
	}
	return r
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
