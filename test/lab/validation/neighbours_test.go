package validation

import (
	"fmt"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev1 "k8s.io/api/core/v1"

	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/simulation"
	"istio.io/istio/pilot/test/xds"
	"istio.io/istio/pilot/test/xdstest"
	"istio.io/istio/pkg/config"
)

// TestPolicyReachesOurSubsets: a user's trafficPolicy, whether merged by Istio or carried over by us, is that of the
// whole Service and of every subset, whoever wrote first.
func TestPolicyReachesOurSubsets(t *testing.T) {
	for _, name := range []string{"merged-rule", "merged-export", "root-rule", "wildcard-rule", "merged-rule-tcp", "root-rule-tcp", "wildcard-sniffed"} {
		e := examples(t)[name]
		for _, written := range []time.Time{theDayBefore.Add(-time.Hour), now} { // ours is older, then younger
			rule := created(e.rule(t), written)
			for _, namespace := range []string{"shop", "bank", "istio-system"} {
				clusters := clustersFor(t, e.object(), client(namespace), append(e.others(t), rule)...)
				for _, subset := range []string{"", stable, e.subset(t, "v2.0")} {
					cluster := clusters[cluster(e.Service.Ports[0].Number, subset)]
					if got := connectionsAllowed(cluster); got != 77 {
						t.Errorf("%s: ours of %s, client in %s: subset %q allows %d connections, want 77", name, written, namespace, subset, got)
					}
				}
			}
		}
	}
}

func clustersFor(t *testing.T, s *corev1.Service, p *model.Proxy, configs ...config.Config) map[string]*clusterv3.Cluster {
	t.Helper()
	server := istiod(t, s, configs...)
	return xdstest.ExtractClusters(server.Clusters(server.SetupProxy(p)))
}

func connectionsAllowed(c *clusterv3.Cluster) uint32 {
	for _, th := range c.GetCircuitBreakers().GetThresholds() {
		return th.GetMaxConnections().GetValue()
	}
	return 0
}

// TestRuleConflictsAreReal: which users' rules hide our subsets from which clients; routing/istio reports those that
// do.
func TestRuleConflictsAreReal(t *testing.T) {
	e := examples(t)["http"]
	for _, c := range []struct {
		name, namespace, spec string
		hidden                map[string]bool // by the client's namespace
	}{
		{"same namespace", "shop", `{host: reviews}`, nil},
		{"same namespace, literally another exportTo", "shop", `{host: reviews, exportTo: ["*"]}`, map[string]bool{"shop": true, "bank": true, "istio-system": true}},
		{"same namespace, private", "shop", `{host: reviews, exportTo: ["."]}`, map[string]bool{"shop": true}},
		{"selector", "shop", `{host: reviews, workloadSelector: {matchLabels: {app: client}}}`, map[string]bool{"shop": true}},
		{"selector of others in the client's namespace", "bank", `{host: ` + fqdn + `, workloadSelector: {matchLabels: {app: other}}}`, map[string]bool{"bank": true}},
		{"client's namespace", "bank", `{host: ` + fqdn + `}`, map[string]bool{"bank": true}},
		{"client's namespace, private wildcard", "bank", `{host: "*.local", exportTo: ["."]}`, map[string]bool{"bank": true}},
		{"client's namespace, for others", "bank", `{host: ` + fqdn + `, exportTo: [shop]}`, nil},
		{"client's own Service of that name", "bank", `{host: reviews}`, nil},
		{"root", "istio-system", `{host: "*.local"}`, nil},
		{"root, for some", "istio-system", `{host: "*.local", exportTo: [bank]}`, nil},
		{"private in the root", "istio-system", `{host: "*.local", exportTo: ["."]}`, map[string]bool{"istio-system": true}},
		{"wildcard in the namespace", "shop", `{host: "*.shop.svc.cluster.local"}`, nil},
	} {
		theirs := parsedYAML(t, fmt.Sprintf("apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {namespace: %s, name: mine}\nspec: %s\n", c.namespace, c.spec))
		// The younger replaces the older where the two are not merged, so theirs comes later.
		configs := []config.Config{created(e.rule(t), theDayBefore), created(theirs, now)}
		for _, namespace := range []string{"shop", "bank", "istio-system"} {
			_, seen := clustersFor(t, e.object(), client(namespace), configs...)[cluster(80, stable)]
			if seen == c.hidden[namespace] {
				t.Errorf("%s: a client in %s sees our subset: %t", c.name, namespace, seen)
			}
		}
	}
}

// TestHostConflictsAreReal: which users' VirtualServices take requests or connections of which clients away from
// ours; routing/istio reports those that do, and those that ours would take something from.
func TestHostConflictsAreReal(t *testing.T) {
	for _, c := range []struct {
		name, namespace, spec string
		young                 bool            // younger than ours
		requests, connections map[string]bool // by the client's namespace: taken from ours
		host                  string          // the Host header, the FQDN where empty
	}{
		{name: "older", namespace: "shop", spec: `hosts: [reviews]`, requests: everywhere, connections: everywhere},
		{name: "younger", namespace: "shop", spec: `hosts: [reviews]`, young: true},
		{name: "older in another namespace", namespace: "bank", spec: `hosts: [` + fqdn + `]`, requests: everywhere, connections: everywhere},
		{name: "short name in another namespace", namespace: "bank", spec: `hosts: [reviews]`},
		{name: "younger, private", namespace: "bank", spec: "hosts: [" + fqdn + "]\n  exportTo: [\".\"]", young: true, requests: bank, connections: bank},
		{name: "younger, for a client's namespace", namespace: "shop", spec: "hosts: [" + fqdn + "]\n  exportTo: [bank]", young: true, requests: bank, connections: bank},
		{name: "older wildcard", namespace: "shop", spec: `hosts: ["*.shop.svc.cluster.local"]`, connections: everywhere},
		{name: "younger wildcard", namespace: "shop", spec: `hosts: ["*.shop.svc.cluster.local"]`, young: true},
		{name: "half qualified, older", namespace: "bank", spec: `hosts: [reviews.shop]`, host: "reviews.shop", requests: everywhere},
		{name: "half qualified, younger", namespace: "bank", spec: `hosts: [reviews.shop]`, host: "reviews.shop", young: true},
		{name: "gateway", namespace: "shop", spec: "hosts: [reviews]\n  gateways: [edge]"},
	} {
		theirs := created(parsedYAML(t, fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {namespace: %s, name: mine}
spec:
  %s
  http: [{route: [{destination: {host: %s, port: {number: 80}}}]}]
  tcp: [{match: [{port: 9000}], route: [{destination: {host: %s, port: {number: 9000}}}]}]
`, c.namespace, c.spec, fqdn, fqdn)), theDayBefore)
		if c.young {
			theirs.CreationTimestamp = now.Add(time.Hour)
		}
		takes(t, c.name, c.host, theirs, c.requests, c.connections)
	}
}

var (
	everywhere = map[string]bool{"shop": true, "bank": true}
	bank       = map[string]bool{"bank": true}
)

// takes sends a request and opens a connection as clients of two namespaces, and sees whether they reach stable's
// subset, as ours says, or the whole Service, as theirs does.
func takes(t *testing.T, what, host string, theirs config.Config, requests, connections map[string]bool) {
	t.Helper()
	e := examples(t)["http-and-tcp"]
	reach(t, what, host, istiod(t, e.object(), e.rule(t), e.Routes[0].routes(t), theirs), requests, connections)
}

// reach is takes for a discovery server that knows theirs.
func reach(t *testing.T, what, host string, s *xds.FakeDiscoveryServer, requests, connections map[string]bool) {
	t.Helper()
	if host == "" {
		host = fqdn
	}
	for _, namespace := range []string{"shop", "bank"} {
		sim := simulation.NewSimulation(t, s, s.SetupProxy(client(namespace)))
		request := sim.Run(simulation.Call{Address: clusterIP, Port: 80, Protocol: simulation.HTTP, HostHeader: host, CallMode: simulation.CallModeOutbound})
		connection := sim.Run(simulation.Call{Address: clusterIP, Port: 9000, Protocol: simulation.TCP, CallMode: simulation.CallModeOutbound})
		for _, x := range []struct {
			what  string
			got   simulation.Result
			port  int32
			taken bool
		}{{"request", request, 80, requests[namespace]}, {"connection", connection, 9000, connections[namespace]}} {
			want := cluster(x.port, stable)
			if x.taken {
				want = cluster(x.port, "")
			}
			if x.got.Error != nil || x.got.ClusterMatched != want {
				t.Errorf("%s: %s of a client in %s reaches %q (%v), want %q", what, x.what, namespace, x.got.ClusterMatched, x.got.Error, want)
			}
		}
	}
}

// TestHeadlessServicesCannotBeShared is why they are reported: even the subset's cluster sends to the pod that the
// client chose, whatever version it is.
func TestHeadlessServicesCannotBeShared(t *testing.T) {
	e := examples(t)["http"]
	headless := e.object()
	headless.Spec.ClusterIP = corev1.ClusterIPNone
	got := clustersFor(t, headless, client("shop"), e.rule(t), e.Routes[0].routes(t))[cluster(80, stable)]
	if got.GetType() != clusterv3.Cluster_ORIGINAL_DST {
		t.Errorf("the subset's cluster is of type %s: %v", got.GetType(), got)
	}
}
