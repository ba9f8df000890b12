package e2e

import (
	"fmt"
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

// sidecar lets the mesh client see the hosts that replace %s, and its own namespace.
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

// A Sidecar in the client's namespace that names the Service, but not all of its namespace, does not hide the release
// from its clients. It restricts the client of every story, so this test runs alone.
func TestSidecarWithRestrictedEgress(t *testing.T) {
	ns := harness.Namespace(t)
	s := story{harness.StoryIn(t, ns)}
	s.Apply(all(webService, web("web-v1")))
	harness.WaitReady(t, s.NS, "web-v1")
	load := s.load(s.URL)
	stable := s.pods("web-v1")
	restrict := func(mode string) {
		harness.Kubectl(t, fmt.Sprintf(sidecar, mode, ns+"/web."+ns+".svc.cluster.local"), "apply", "-f", "-")
	}
	t.Cleanup(func() { harness.Kubectl(t, "", "delete", "sidecar/restricted", "-n", "default") })
	restrict("REGISTRY_ONLY")

	s.Apply(web("web-v2", "strategy: canary", `weight: "30"`))
	s.Programmed("web-v2", "canary 30% of web")
	s.Served(split{"v1": 70, "v2": 30})
	restrict("ALLOW_ANY")
	s.Annotate("web-v2", "weight=60")
	s.Programmed("web-v2", "canary 60% of web")
	s.Served(split{"v1": 40, "v2": 60})
	s.untouched("web-v1", stable)
	load.AssertNoneLost(t)
}
