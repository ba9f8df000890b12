package validation

import (
	"slices"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"github.com/google/go-cmp/cmp"

	"istio.io/api/networking/v1alpha3"
	"istio.io/istio/pilot/pkg/simulation"
	"istio.io/istio/pkg/config"
)

// TestServiceExportedToSome: clients to whom a Service is not exported get what they got without a release, whichever
// mode their outbound traffic has: with routes for all they would be led to a cluster that they lack. Those who know
// the Service are given its subsets.
func TestServiceExportedToSome(t *testing.T) {
	if got := examples(t)["exported"].Routes[0].routes(t).Spec.(*v1alpha3.VirtualService).ExportTo; !slices.Equal(got, []string{".", "bank"}) {
		t.Errorf("our routes are exported to %q, not to those to whom the Service is", got)
	}
	for exportTo, knows := range map[string]map[string]bool{
		".": {"shop": true}, "bank": {"bank": true}, ".,bank": {"shop": true, "bank": true}, "*": {"shop": true, "bank": true, "other": true},
	} {
		e := examples(t)["http-and-tcp"]
		service, routes := e.object(), e.Routes[0].routes(t)
		service.Annotations = map[string]string{"networking.istio.io/exportTo": exportTo}
		routes.Spec.(*v1alpha3.VirtualService).ExportTo = strings.Split(exportTo, ",")
		before, pinned := istiod(t, service), istiod(t, service, e.rule(t), routes)
		for _, namespace := range []string{"shop", "bank", "other"} {
			what := "exported to " + exportTo + ", client in " + namespace
			same(t, what, trafficOf(t, before, client(namespace)), trafficOf(t, pinned, client(namespace)))
			if _, seen := clustersOf(t, pinned, client(namespace))[cluster(80, stable)]; seen != knows[namespace] {
				t.Errorf("%s: knows the subset: %t", what, seen)
			}
		}
	}
}

// TestSidecarScopes: a Sidecar in the client's namespace that names the Service, however it does, is given its subsets
// together with its routes; one that leaves it out changes nothing for its clients.
func TestSidecarScopes(t *testing.T) {
	for hosts, knows := range map[string]bool{
		`"*/*"`: true, `"shop/*"`: true, `"*/` + fqdn + `"`: true, `"shop/` + fqdn + `"`: true, `"shop/*.shop.svc.cluster.local"`: true,
		`"./*"`: false, `"shop/other.shop.svc.cluster.local"`: false, `"~/*"`: false,
	} {
		mode := "ALLOW_ANY" // where it does not know the Service, a wrong route would be seen
		if knows {
			mode = "REGISTRY_ONLY"
		}
		scoped(t, hosts, mode, knows)
	}
	scoped(t, `"./*"`, "REGISTRY_ONLY", false)
	scoped(t, `"*/*"`, "ALLOW_ANY", true)
}

// scoped compares what a client with such a Sidecar gets before a release, and pinned.
func scoped(t *testing.T, hosts, mode string, knows bool) {
	t.Helper()
	e := examples(t)["http-and-tcp"]
	scope := created(parsedYAML(t, `
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {namespace: bank, name: mine}
spec:
  outboundTrafficPolicy: {mode: `+mode+`}
  egress: [{hosts: [`+hosts+`]}]
`), theDayBefore)
	before, pinned := istiod(t, e.object(), scope), istiod(t, e.object(), scope, e.rule(t), e.Routes[0].routes(t))
	what := "egress of " + hosts + ", " + mode
	same(t, what, trafficOf(t, before, client("bank")), trafficOf(t, pinned, client("bank")))
	if _, seen := clustersOf(t, pinned, client("bank"))[cluster(80, stable)]; seen != knows {
		t.Errorf("%s: knows the subset: %t", what, seen)
	}
	call := simulation.Call{Address: clusterIP, Port: 80, Protocol: simulation.HTTP, HostHeader: fqdn, CallMode: simulation.CallModeOutbound}
	got := simulation.NewSimulation(t, pinned, pinned.SetupProxy(client("bank"))).Run(call)
	if toStable := got.Error == nil && got.ClusterMatched == cluster(80, stable); toStable != knows {
		t.Errorf("%s: cluster %q, error %v", what, got.ClusterMatched, got.Error)
	}
}

// TestTLSOfSubsets: what secures connections to the Service secures those to its subsets: mutual TLS by a user's
// DestinationRule beside PeerAuthentication STRICT, whether or not the mesh turns it on by itself, and beside further
// policy.
func TestTLSOfSubsets(t *testing.T) {
	strict := created(parsedYAML(t, `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {namespace: shop, name: strict}
spec: {mtls: {mode: STRICT}}
`), theDayBefore)
	for name, policy := range map[string]string{
		"none":          "",
		"mutual":        "tls: {mode: ISTIO_MUTUAL}",
		"with policy":   "tls: {mode: ISTIO_MUTUAL}, connectionPool: {tcp: {maxConnections: 77}}",
		"own name":      "tls: {mode: ISTIO_MUTUAL, sni: other.example.com, subjectAltNames: [spiffe://other]}",
		"simple":        "tls: {mode: SIMPLE, sni: other.example.com}",
		"of the port":   "portLevelSettings: [{port: {number: 80}, tls: {mode: ISTIO_MUTUAL}}]",
		"switched off":  "tls: {mode: DISABLE}",
		"proxied bytes": "tls: {mode: ISTIO_MUTUAL}, proxyProtocol: {version: V1}",
	} {
		e := examples(t)["http-and-tcp"]
		configs := []config.Config{strict}
		if policy != "" {
			configs = append(configs, created(parsedYAML(t, `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {namespace: shop, name: mine}
spec: {host: reviews, trafficPolicy: {`+policy+`}}
`), theDayBefore))
		}
		for _, namespace := range []string{"shop", "bank"} {
			without := clustersFor(t, e.object(), client(namespace), configs...)
			released := clustersFor(t, e.object(), client(namespace), append(configs, e.rule(t), e.Routes[0].routes(t))...)
			if whole := without[cluster(80, "")]; name == "mutual" && whole.GetTransportSocket() == nil && len(whole.GetTransportSocketMatches()) == 0 {
				t.Error("mutual TLS does not show in the cluster of the Service: this test compares nothing")
			}
			for _, port := range e.Service.Ports {
				secures(t, name+", client in "+namespace, without[cluster(port.Number, "")], released[cluster(port.Number, stable)])
			}
		}
	}
}

// secures: both clusters have the same transport sockets, but for the server name that tells Istio's own gateways the
// subset.
func secures(t *testing.T, what string, service, subset *clusterv3.Cluster) {
	t.Helper()
	if service == nil || subset == nil {
		t.Errorf("%s: cluster of the Service %v, of stable %v", what, service, subset)
		return
	}
	want, got := map[string]any{}, map[string]any{}
	for c, into := range map[*clusterv3.Cluster]map[string]any{service: want, subset: got} {
		all, _ := comparable(t, c).(map[string]any)
		for _, key := range []string{"transportSocket", "transportSocketMatches"} {
			into[key] = all[key]
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: cluster %s is secured otherwise than %s (-Service +subset):\n%s", what, subset.Name, service.Name, diff)
	}
}
