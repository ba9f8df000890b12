package validation

import (
	"fmt"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/networking/util"
	"istio.io/istio/pilot/pkg/simulation"
	"istio.io/istio/pilot/test/xds"
	"istio.io/istio/pilot/test/xdstest"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/kube"
	"istio.io/istio/pkg/config/protocol"
)

// TestPinnedIsUnchanged: with all traffic for stable, every client gets the listeners and routes that it got without
// any object of ours, but for the name of the cluster, the note which object a route stems from, and what counts under
// the cluster's name; and the cluster of stable is the one of the whole Service but for its name and endpoints.
func TestPinnedIsUnchanged(t *testing.T) {
	for name, e := range examples(t) {
		t.Run(name, func(t *testing.T) {
			if w := e.Routes[0].Traffic.Weights; len(w) != 1 || w[0].Version != stable {
				t.Fatalf("the first ask is not the pin to stable: %+v", w)
			}
			others := e.others(t)
			before := istiod(t, e.object(), others...)
			ruled := istiod(t, e.object(), append(others, e.rule(t))...)
			pinned := istiod(t, e.object(), append(others, e.rule(t), e.Routes[0].routes(t))...)
			for _, namespace := range []string{"shop", "bank"} {
				for how, p := range map[string]func(string) *model.Proxy{"redirected": client, "proxy": proxyClient} {
					what := fmt.Sprintf("client in %s, %s", namespace, how)
					want := trafficOf(t, before, p(namespace))
					same(t, what+", DestinationRule alone", want, trafficOf(t, ruled, p(namespace)))
					got := trafficOf(t, pinned, p(namespace))
					withoutForeignPort80(e, got)
					same(t, what+", pinned", want, got)
					sameClusters(t, what, e, clustersOf(t, before, p(namespace)), clustersOf(t, pinned, p(namespace)))
				}
			}
		})
	}
}

// withoutForeignPort80 takes out what istiod adds to the routes of port 80 for any VirtualService whose Service lacks
// that port; TestPort80OfOtherServices says what it does.
func withoutForeignPort80(e example, traffic map[string]any) {
	routes, ok := traffic["routes 80"].(map[string]any)
	if !ok || e.hasPort(80) {
		return
	}
	hosts, _ := routes["virtualHosts"].([]any)
	routes["virtualHosts"] = slices.DeleteFunc(hosts, func(host any) bool {
		h, _ := host.(map[string]any)
		return h["name"] == fqdn+":80"
	})
}

func (e example) hasPort(number int32) bool {
	return slices.ContainsFunc(e.Service.Ports, func(p port) bool { return p.Number == number })
}

// TestPort80OfOtherServices: where a Service without port 80 has one HTTP port, a request in its name to port 80 of
// another address is served as one to its own port; without a VirtualService it goes to that address. On its own
// address nobody listens there.
func TestPort80OfOtherServices(t *testing.T) {
	e := examples(t)["http-9080"]
	call := simulation.Call{Address: "10.96.0.8", Port: 80, HostHeader: fqdn, Protocol: simulation.HTTP, CallMode: simulation.CallModeOutbound}
	for want, configs := range map[string][]config.Config{
		util.PassthroughCluster: {e.rule(t)},
		cluster(9080, stable):   {e.rule(t), e.Routes[0].routes(t)},
	} {
		s := istiod(t, e.object(), configs...)
		got := simulation.NewSimulation(t, s, s.SetupProxy(client("shop"))).Run(call)
		if got.Error != nil || got.ClusterMatched != want {
			t.Errorf("cluster %q, error %v; want %q", got.ClusterMatched, got.Error, want)
		}
	}
}

// trafficOf is all listeners and routes of a client, made comparable.
func trafficOf(t *testing.T, s *xds.FakeDiscoveryServer, p *model.Proxy) map[string]any {
	t.Helper()
	p = s.SetupProxy(p)
	out := map[string]any{}
	listeners := s.Listeners(p)
	for _, l := range listeners {
		out["listener "+l.Name] = comparable(t, l)
	}
	for _, r := range s.RoutesFromListeners(p, listeners) {
		out["routes "+r.Name] = comparable(t, r)
	}
	return out
}

func clustersOf(t *testing.T, s *xds.FakeDiscoveryServer, p *model.Proxy) map[string]any {
	t.Helper()
	out := map[string]any{}
	for name, c := range xdstest.ExtractClusters(s.Clusters(s.SetupProxy(p))) {
		out[name] = comparable(t, c)
	}
	return out
}

func same(t *testing.T, what string, want, got map[string]any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-before +with ours):\n%s", what, diff)
	}
}

// sameClusters: the clusters of before are still there, as they were, and stable's is like the whole Service's.
func sameClusters(t *testing.T, what string, e example, before, pinned map[string]any) {
	t.Helper()
	for name, want := range before {
		if diff := cmp.Diff(want, pinned[name]); diff != "" {
			t.Errorf("%s: cluster %s (-before +pinned):\n%s", what, name, diff)
		}
	}
	for _, p := range e.object().Spec.Ports {
		if kube.ConvertProtocol(p.Port, p.Name, p.Protocol, p.AppProtocol) == protocol.UDP {
			continue // Envoy does not see it
		}
		whole, subset := cluster(p.Port, ""), cluster(p.Port, stable)
		if before[whole] == nil {
			t.Errorf("%s: no cluster %s", what, whole)
		}
		if diff := cmp.Diff(before[whole], pinned[subset]); diff != "" {
			t.Errorf("%s: cluster %s is not like %s (-whole +subset):\n%s", what, subset, whole, diff)
		}
	}
}

func cluster(port int32, subset string) string {
	return fmt.Sprintf("outbound|%d|%s|%s", port, subset, fqdn)
}

// comparable is a message as plain data, without what may differ: subsets in names of clusters (also in the form of
// server names), notes which object something stems from, and a default of Envoy's that is written out where a
// VirtualService matches a port.
func comparable(t *testing.T, m proto.Message) any {
	t.Helper()
	raw, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := yaml.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return stripped(out)
}

var (
	named      = regexp.MustCompile(`(outbound\|\d+\|)` + stable + `(\|` + regexp.QuoteMeta(fqdn) + `)`)
	serverName = regexp.MustCompile(`(outbound_\.\d+_\.)_?` + stable + `(_\.` + regexp.QuoteMeta(fqdn) + `)`)
)

func stripped(node any) any {
	switch n := node.(type) {
	case string:
		return serverName.ReplaceAllString(named.ReplaceAllString(n, "$1$2"), "${1}${2}")
	case []any:
		for i := range n {
			n[i] = stripped(n[i])
		}
	case map[string]any:
		for key := range n {
			n[key] = stripped(n[key])
		}
		withoutOrigin(n)
		if n["caseSensitive"] == true { // the default: config.route.v3.RouteMatch.case_sensitive
			delete(n, "caseSensitive")
		}
	}
	return node
}

// withoutOrigin removes metadata.filterMetadata.istio.config and .subset, and what is empty then.
func withoutOrigin(n map[string]any) {
	metadata, _ := n["metadata"].(map[string]any)
	filters, _ := metadata["filterMetadata"].(map[string]any)
	istio, ok := filters["istio"].(map[string]any)
	if !ok {
		return
	}
	delete(istio, "config")
	delete(istio, "subset")
	if len(istio) == 0 {
		delete(filters, "istio")
	}
	if len(filters) == 0 {
		delete(metadata, "filterMetadata")
	}
	if len(metadata) == 0 {
		delete(n, "metadata")
	}
}

// TestPinnedBesideConsistentHash: a user's consistent hash goes on as before, with one exception that is Istio's:
// beside any VirtualService, a request that is tried again may go to the host that failed, since its hash leads there.
func TestPinnedBesideConsistentHash(t *testing.T) {
	const theirs = `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {namespace: shop, name: mine}
spec: {host: reviews, trafficPolicy: {loadBalancer: {consistentHash: {%s}}}}
`
	for name, hash := range map[string]string{"http": "httpHeaderName: x-user", "tcp": "useSourceIp: true"} {
		e := examples(t)[name]
		rule := created(parsedYAML(t, fmt.Sprintf(theirs, hash)), theDayBefore)
		before, pinned := istiod(t, e.object(), rule), istiod(t, e.object(), rule, e.rule(t), e.Routes[0].routes(t))
		want, got := trafficOf(t, before, client("shop")), trafficOf(t, pinned, client("shop"))
		if !holdsKey(want, "hashPolicy") {
			t.Errorf("%s: no hash before", name)
		}
		if name == "http" {
			removeKey(want, "retryHostPredicate")
			removeKey(got, "retryHostPredicate")
		}
		same(t, name, want, got)
		sameClusters(t, name, e, clustersOf(t, before, client("shop")), clustersOf(t, pinned, client("shop")))
	}
}

// holdsKey looks for a field at any depth.
func holdsKey(node any, key string) bool {
	switch n := node.(type) {
	case []any:
		for _, x := range n {
			if holdsKey(x, key) {
				return true
			}
		}
	case map[string]any:
		for k, x := range n {
			if k == key || holdsKey(x, key) {
				return true
			}
		}
	}
	return false
}

// removeKey removes a field at any depth.
func removeKey(node any, key string) {
	switch n := node.(type) {
	case []any:
		for _, x := range n {
			removeKey(x, key)
		}
	case map[string]any:
		delete(n, key)
		for _, x := range n {
			removeKey(x, key)
		}
	}
}
