package validation

import (
	"fmt"
	"testing"

	meshconfig "istio.io/api/mesh/v1alpha1"
	"istio.io/istio/pilot/pkg/networking/util"
	"istio.io/istio/pilot/pkg/simulation"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/mesh"
)

// The shapes that a VirtualService could have for a TLS port, all of them asking for stable alone.
const (
	tlsHead = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {namespace: shop, name: reviews-grayscale}
spec:
  hosts: [reviews.shop.svc.cluster.local]
  gateways: [mesh]
`
	byServerName = `
  tls:
  - match: [{port: 443, sniHosts: [reviews.shop.svc.cluster.local]}]
    route: [{destination: {host: reviews.shop.svc.cluster.local, subset: v1, port: {number: 443}}}]
`
	asTCP = `
  tcp:
  - match: [{port: 443}]
    route: [{destination: {host: reviews.shop.svc.cluster.local, subset: v1, port: {number: 443}}}]
`
)

// TestNoShapeSuitsTLSPorts is why a TLS port is reported and not routed: by server name, clients that use another name
// or none bypass the mesh (its mTLS, their policies, our shares) or are cut off, as the mesh is configured; and a tcp
// route is ignored, so that the candidate gets what is not meant for it.
func TestNoShapeSuitsTLSPorts(t *testing.T) {
	e := examples(t)["tls-as-tcp"]
	declared := e.object()
	declared.Spec.Ports[0].AppProtocol = nil // its name is https
	pinned, whole := cluster(443, stable), cluster(443, "")
	for mode, elsewhere := range map[meshconfig.MeshConfig_OutboundTrafficPolicy_Mode]string{
		meshconfig.MeshConfig_OutboundTrafficPolicy_ALLOW_ANY:     util.PassthroughCluster,
		meshconfig.MeshConfig_OutboundTrafficPolicy_REGISTRY_ONLY: util.BlackHoleCluster,
	} {
		for _, c := range []struct{ name, routes, byFQDN, byAnother string }{
			{"without ours", "", whole, whole},
			{"by server name", byServerName, pinned, elsewhere},
			{"as TCP", asTCP, whole, whole},
			{"both", byServerName + asTCP, pinned, elsewhere},
		} {
			configs := []config.Config{e.rule(t)}
			if c.routes != "" {
				configs = append(configs, created(parsedYAML(t, tlsHead+c.routes), now))
			}
			m := mesh.DefaultMeshConfig()
			m.OutboundTrafficPolicy = &meshconfig.MeshConfig_OutboundTrafficPolicy{Mode: mode}
			s := istiodOf(t, m, declared, configs...)
			sim := simulation.NewSimulation(t, s, s.SetupProxy(client("shop")))
			for name, want := range map[string]string{fqdn: c.byFQDN, "": c.byAnother, "reviews": c.byAnother, "reviews.example.com": c.byAnother} {
				connects(t, fmt.Sprintf("%s, %s, server name %q", mode, c.name, name), sim, name, want)
			}
		}
	}
}

// TestTLSDeclaredAsTCP is the way out: every client is served by the version that is asked for, whatever name it uses.
func TestTLSDeclaredAsTCP(t *testing.T) {
	e := examples(t)["tls-as-tcp"]
	s := istiod(t, e.object(), e.rule(t), e.Routes[0].routes(t))
	sim := simulation.NewSimulation(t, s, s.SetupProxy(client("bank")))
	for _, name := range []string{"", fqdn, "reviews.shop", "reviews.example.com"} {
		connects(t, "server name "+name, sim, name, cluster(443, stable))
	}
}

// connects opens a TLS connection to the Service's port with the server name.
func connects(t *testing.T, what string, sim *simulation.Simulation, name, want string) {
	t.Helper()
	got := sim.Run(simulation.Call{Address: clusterIP, Port: 443, Protocol: simulation.TCP, TLS: simulation.TLS, Sni: name, CallMode: simulation.CallModeOutbound})
	if got.Error != nil || got.ClusterMatched != want {
		t.Errorf("%s: cluster %q, error %v; want %q", what, got.ClusterMatched, got.Error, want)
	}
}
