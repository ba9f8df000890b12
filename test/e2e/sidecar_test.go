package e2e

import (
	"fmt"
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

// sidecar lets the mesh client see what is named in place of %s, and its own namespace.
const sidecar = `
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata:
  name: restricted
  namespace: default
spec:
  outboundTrafficPolicy: {mode: %s}
  egress: [{hosts: ["./*", %q]}]
`

// A Sidecar in the client's namespace that names the Service, its namespace in part, takes nothing of the release from its
// clients. It is every story's client that it restricts: this one runs alone.
func TestSidecarWithRestrictedEgress(t *testing.T) {
	ns := harness.Namespace(t)
	s := story{t: t, ns: ns, url: harness.URL(ns, "web", 80)}
	s.apply(all(webService, web("web-v1")))
	harness.WaitReady(t, s.ns, "web-v1")
	load := s.load(s.url)
	stable := s.pods("web-v1")
	restrict := func(mode string) {
		harness.Kubectl(t, fmt.Sprintf(sidecar, mode, ns+"/web."+ns+".svc.cluster.local"), "apply", "-f", "-")
	}
	t.Cleanup(func() { harness.Kubectl(t, "", "delete", "sidecar/restricted", "-n", "default") })
	restrict("REGISTRY_ONLY")

	s.apply(web("web-v2", "strategy: canary", `weight: "30"`))
	s.programmed("web-v2", "canary 30% of web")
	s.served(split{"v1": 70, "v2": 30})
	restrict("ALLOW_ANY")
	s.annotate("web-v2", "weight=60")
	s.programmed("web-v2", "canary 60% of web")
	s.served(split{"v1": 40, "v2": 60})
	s.untouched("web-v1", stable)
	load.AssertNoneLost(t)
}
