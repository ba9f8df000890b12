package istio

import (
	"encoding/json"
	"slices"

	"istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

const apiVersion = "networking.istio.io/v1"

// VirtualService is the whole object that asks Envoy for the traffic and remembers the state. current is the one in the
// cluster or nil; its resourceVersion is kept, so that what was decided from a stale copy is refused.
func VirtualService(s release.Service, domain string, t release.Traffic, st release.State, current *networkingv1.VirtualService) *networkingv1.VirtualService {
	vs := &networkingv1.VirtualService{TypeMeta: metav1.TypeMeta{APIVersion: apiVersion, Kind: "VirtualService"}, ObjectMeta: objectMeta(s, st)}
	if current != nil {
		vs.ResourceVersion = current.ResourceVersion
	}
	vs.Spec.Hosts = []string{Host(s, domain)}
	vs.Spec.Gateways = []string{mesh}
	for _, p := range s.Ports {
		addRoutes(vs, p, t, s, domain)
	}
	return vs
}

func addRoutes(vs *networkingv1.VirtualService, p release.Port, t release.Traffic, s release.Service, domain string) {
	host, port := Host(s, domain), uint32(p.Number)
	k := kindOf(p)
	if k == httpKind || k == sniffed {
		vs.Spec.Http = append(vs.Spec.Http, httpRoute(host, port, t))
	}
	if k == tcpKind || k == sniffed {
		vs.Spec.Tcp = append(vs.Spec.Tcp, &v1alpha3.TCPRoute{
			Match: []*v1alpha3.L4MatchAttributes{{Port: port}}, Route: connections(host, port, t)})
	}
	if k == tlsKind {
		vs.Spec.Tls = append(vs.Spec.Tls, &v1alpha3.TLSRoute{
			Match: []*v1alpha3.TLSMatchAttributes{{Port: port, SniHosts: []string{host}}}, Route: connections(host, port, t)})
	}
}

func httpRoute(host string, port uint32, t release.Traffic) *v1alpha3.HTTPRoute {
	r := &v1alpha3.HTTPRoute{Match: []*v1alpha3.HTTPMatchRequest{{Port: port}}}
	for i, w := range integers(t.Weights) {
		r.Route = append(r.Route, &v1alpha3.HTTPRouteDestination{Destination: destination(host, port, t.Weights[i].Version), Weight: w})
	}
	for _, m := range t.Mirrors {
		r.Mirrors = append(r.Mirrors, &v1alpha3.HTTPMirrorPolicy{
			Destination: destination(host, port, m.Version), Percentage: &v1alpha3.Percent{Value: float64(m.Share) / 100}})
	}
	return r
}

func connections(host string, port uint32, t release.Traffic) []*v1alpha3.RouteDestination {
	var out []*v1alpha3.RouteDestination
	for i, w := range integers(t.Weights) {
		out = append(out, &v1alpha3.RouteDestination{Destination: destination(host, port, t.Weights[i].Version), Weight: w})
	}
	return out
}

func destination(host string, port uint32, version string) *v1alpha3.Destination {
	return &v1alpha3.Destination{Host: host, Subset: SubsetName(version), Port: &v1alpha3.PortSelector{Number: port}}
}

// integers are Istio's weights: percents, or hundredths of a percent where a share has decimals; a lone destination has none.
func integers(weights []release.Weight) []int32 {
	out := make([]int32, len(weights))
	if len(weights) == 1 {
		return out
	}
	unit := intent.Percent(100)
	for _, w := range weights {
		if w.Share%unit != 0 {
			unit = 1
		}
	}
	for i, w := range weights {
		out[i] = int32(w.Share / unit)
	}
	return out
}

func objectMeta(s release.Service, state any) metav1.ObjectMeta {
	raw, err := json.Marshal(state)
	if err != nil {
		panic(err) // strings, numbers and times alone cannot fail
	}
	return metav1.ObjectMeta{
		Namespace: s.Namespace, Name: Name(s.Name),
		Labels:          map[string]string{ManagedBy: Manager},
		Annotations:     map[string]string{intent.KeyState: string(raw)},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Service", Name: s.Name, UID: typesUID(s.UID)}},
	}
}

// ReadState reads what the VirtualService remembers; false where the annotation is absent or damaged.
func ReadState(vs *networkingv1.VirtualService) (release.State, bool) {
	var st release.State
	if err := json.Unmarshal([]byte(vs.Annotations[intent.KeyState]), &st); err != nil {
		return release.State{}, false
	}
	return st, true
}

// ReferencedSubsets are the names of the subsets that the VirtualService sends requests, connections or copies to,
// sorted and without repetition. It reads the routes themselves, whoever wrote them.
func ReferencedSubsets(vs *networkingv1.VirtualService) []string {
	var out []string
	add := func(d *v1alpha3.Destination) {
		if d.GetSubset() != "" {
			out = append(out, d.GetSubset())
		}
	}
	for _, r := range vs.Spec.Http {
		for _, d := range r.Route {
			add(d.Destination)
		}
		for _, m := range r.Mirrors {
			add(m.Destination)
		}
		add(r.Mirror)
	}
	for _, r := range vs.Spec.Tcp {
		for _, d := range r.Route {
			add(d.Destination)
		}
	}
	for _, r := range vs.Spec.Tls {
		for _, d := range r.Route {
			add(d.Destination)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
