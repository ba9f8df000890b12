package validation

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	corev1 "k8s.io/api/core/v1"

	"istio.io/api/networking/v1alpha3"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/networking/util"
	"istio.io/istio/pilot/pkg/simulation"
	"istio.io/istio/pilot/test/xds"
	"istio.io/istio/pilot/test/xdstest"
	"istio.io/istio/pkg/config/kube"
	"istio.io/istio/pkg/wellknown"
)

// TestShares: on every port, in what Istio itself takes for the port's protocol, Envoy is told to share as asked; and
// no route leads to a cluster that does not exist.
func TestShares(t *testing.T) {
	for name, e := range examples(t) {
		t.Run(name, func(t *testing.T) {
			for i, a := range e.Routes {
				s := istiod(t, e.object(), append(e.others(t), e.rule(t), a.routes(t))...)
				p := s.SetupProxy(client("shop"))
				clusters := xdstest.ExtractClusters(s.Clusters(p))
				for _, port := range e.object().Spec.Ports {
					what := fmt.Sprintf("ask %d, port %d", i, port.Port)
					weights, mirrors := a.wanted(e, t, port.Port)
					protocol := kube.ConvertProtocol(port.Port, port.Name, port.Protocol, port.AppProtocol)
					if protocol.IsHTTPOrSniffed() {
						gotWeights, gotMirrors := requests(t, s, port.Port)
						equal(t, what+", requests", gotWeights, weights, clusters)
						equal(t, what+", mirrors", gotMirrors, mirrors, clusters)
					}
					if protocol.IsTCP() || protocol.IsUnsupported() {
						equal(t, what+", connections", connections(t, s.Listeners(p), port), weights, clusters)
					}
				}
			}
		})
	}
}

// TestSharesThroughAnHTTPProxy: a client that uses its sidecar as an HTTP proxy is given the shares that others get
// where the Service has one port for requests. With several such ports Istio cannot tell them apart there; then such a
// client goes on as before.
func TestSharesThroughAnHTTPProxy(t *testing.T) {
	for _, c := range []struct {
		name     string
		port     int32
		followed bool
	}{
		{"http", 80, true}, {"sniffed-80", 80, true}, {"root-rule", 80, true}, {"http-9080", 9080, true}, {"http-5000", 5000, true},
		{"sniffed", 8080, true}, {"grpc", 9090, true}, {"http-twice", 80, false}, {"many", 80, false},
	} {
		e := examples(t)[c.name]
		a := e.Routes[1]
		s := istiod(t, e.object(), append(e.others(t), e.rule(t), a.routes(t))...)
		want, _ := a.wanted(e, t, c.port)
		if !c.followed {
			want = map[string]uint32{cluster(c.port, ""): 10000}
		}
		if got, _ := requestsThrough(t, proxied(t, s), c.port); !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v", c.name, got, want)
		}
	}
}

// proxied are the routes of a sidecar's HTTP proxy.
func proxied(t *testing.T, s *xds.FakeDiscoveryServer) []*routev3.RouteConfiguration {
	t.Helper()
	return slices.DeleteFunc(s.Routes(s.SetupProxy(proxyClient("shop"))), func(c *routev3.RouteConfiguration) bool {
		return c.Name != model.RDSHttpProxy
	})
}

// TestAnHTTPProxyFindsPort80 is Istio's limit, with or without a VirtualService: its HTTP proxy ignores the port in the
// Host while the names of other ports than 80 have one, so that none of these is found. The lab repairs that for its
// clients.
func TestAnHTTPProxyFindsPort80(t *testing.T) {
	for name, c := range map[string]struct {
		port int32
		want string
	}{"http": {80, cluster(80, stable)}, "http-9080": {9080, util.PassthroughCluster}} {
		e := examples(t)[name]
		s := istiod(t, e.object(), e.rule(t), e.Routes[0].routes(t))
		got := simulation.NewSimulation(t, s, s.SetupProxy(proxyClient("shop"))).Run(simulation.Call{Address: "127.0.0.1", Port: 15080,
			HostHeader: fmt.Sprintf("%s:%d", fqdn, c.port), Protocol: simulation.HTTP, CallMode: simulation.CallModeOutbound})
		if got.ClusterMatched != c.want {
			t.Errorf("%s: cluster %q, error %v; want %q", name, got.ClusterMatched, got.Error, c.want)
		}
	}
}

// wanted are the shares per cluster in hundredths of a percent.
func (a ask) wanted(e example, t *testing.T, port int32) (weights, mirrors map[string]uint32) {
	t.Helper()
	weights, mirrors = map[string]uint32{}, map[string]uint32{}
	for _, w := range a.Traffic.Weights {
		weights[cluster(port, e.subset(t, w.Version))] = w.Share
	}
	for _, m := range a.Traffic.Mirrors {
		mirrors[cluster(port, e.subset(t, m.Version))] = m.Share
	}
	return weights, mirrors
}

// subset is the name of the only subset with the version's label.
func (e example) subset(t *testing.T, version string) string {
	t.Helper()
	name := ""
	for _, s := range e.rule(t).Spec.(*v1alpha3.DestinationRule).Subsets {
		if s.Labels["version"] == version {
			name += s.Name
		}
	}
	if name == "" {
		t.Fatalf("no subset of version %s", version)
	}
	return name
}

func equal[C any](t *testing.T, what string, got, want map[string]uint32, clusters map[string]C) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
	for name := range got {
		if _, ok := clusters[name]; !ok {
			t.Errorf("%s: no cluster %s", what, name)
		}
	}
}

// requests reads the one route of the Service's virtual host on the port, for a sidecar whose traffic is redirected.
func requests(t *testing.T, s *xds.FakeDiscoveryServer, port int32) (weights, mirrors map[string]uint32) {
	t.Helper()
	return requestsThrough(t, s.Routes(s.SetupProxy(client("shop"))), port)
}

func requestsThrough(t *testing.T, configs []*routev3.RouteConfiguration, port int32) (weights, mirrors map[string]uint32) {
	t.Helper()
	wanted := fmt.Sprintf("%s:%d", fqdn, port)
	for _, config := range configs {
		for _, host := range config.VirtualHosts {
			if host.Name != wanted {
				continue
			}
			if len(host.Routes) != 1 {
				t.Fatalf("%s has %d routes", wanted, len(host.Routes))
			}
			return sharesOf(t, host.Routes[0].GetRoute())
		}
	}
	t.Fatalf("no virtual host %s", wanted)
	return nil, nil
}

func sharesOf(t *testing.T, action *routev3.RouteAction) (weights, mirrors map[string]uint32) {
	t.Helper()
	weights, mirrors = map[string]uint32{}, map[string]uint32{}
	if name := action.GetCluster(); name != "" {
		weights[name] = 1
	}
	for _, c := range action.GetWeightedClusters().GetClusters() {
		weights[c.Name] += c.Weight.Value
	}
	for _, m := range action.RequestMirrorPolicies {
		f := m.RuntimeFraction.DefaultValue
		if f.Denominator != typev3.FractionalPercent_MILLION {
			t.Fatalf("mirror in other units: %v", f)
		}
		mirrors[m.Cluster] += f.Numerator / 100
	}
	return inHundredths(weights), mirrors
}

// inHundredths scales weights so that they sum to 10000.
func inHundredths(weights map[string]uint32) map[string]uint32 {
	var sum uint32
	for _, w := range weights {
		sum += w
	}
	for name, w := range weights {
		weights[name] = w * 10000 / sum
	}
	return weights
}

// connections reads the TCP filter chains of the listener on the Service's address; the default one serves where Envoy
// sniffs and finds no HTTP.
func connections(t *testing.T, listeners []*listenerv3.Listener, port corev1.ServicePort) map[string]uint32 {
	t.Helper()
	l := xdstest.ExtractListener(fmt.Sprintf("%s_%d", clusterIP, port.Port), listeners)
	if l == nil {
		t.Fatalf("no listener on port %d", port.Port)
	}
	out := map[string]uint32{}
	for _, chain := range append(l.FilterChains, l.DefaultFilterChain) {
		if n := len(chain.GetFilters()); n == 0 || chain.Name == util.PassthroughFilterChain || chain.Filters[n-1].Name != wellknown.TCPProxy {
			continue
		}
		if len(chain.FilterChainMatch.GetServerNames()) > 0 {
			t.Errorf("port %d: a chain for %v alone", port.Port, chain.FilterChainMatch.ServerNames)
		}
		tcp := xdstest.ExtractTCPProxy(t, chain)
		if name := tcp.GetCluster(); name != "" {
			out[name]++
		}
		for _, c := range tcp.GetWeightedClusters().GetClusters() {
			out[c.Name] += c.Weight
		}
	}
	return inHundredths(out)
}
