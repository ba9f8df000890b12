package e2e

import (
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

// Grayscale is installed before Istio: the candidate waits without pods, and goes on when Istio's custom resource definitions
// come. The test is not parallel: the definitions are everybody's. Parallel tests wait until all others have ended.
func TestIstioMissing(t *testing.T) {
	restore := harness.RemoveIstio(t)
	harness.Kubectl(t, "", "rollout", "restart", "-n", "grayscale-system", "deploy/grayscale")
	harness.Kubectl(t, "", "rollout", "status", "-n", "grayscale-system", "deploy/grayscale", "--timeout="+harness.Patience.String())

	ns := harness.Namespace(t)
	s := story{t: t, ns: ns, url: harness.URL(ns, "web", 80)}
	s.apply(all(webService, web("web-v1")))
	harness.WaitReady(t, ns, "web-v1")
	s.load(s.url)
	s.apply(web("web-v2", "strategy: canary", `weight: "30"`))
	harness.WaitCondition(t, ns, "web-v2", "grayscale.dev/Accepted", "False", "networking.istio.io/v1")
	if pods := s.pods("web-v2"); len(pods) != 0 {
		t.Errorf("the candidate is not held: %v", pods)
	}

	restore()
	s.programmed("web-v2", "canary 30% of web")
	s.served(split{"v1": 70, "v2": 30})
}
