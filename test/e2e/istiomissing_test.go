package e2e

import (
	"fmt"
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

// Grayscale is installed before Istio: the candidate waits without pods, and goes on when Istio's custom resource
// definitions are installed. The test is not parallel, because all tests share the definitions. Parallel tests wait
// until all others have ended.
func TestIstioMissing(t *testing.T) {
	restore := harness.RemoveIstio(t)
	restartAll(t)

	ns := harness.Namespace(t)
	s := story{harness.StoryIn(t, ns)}
	s.Apply(all(webService, web("web-v1")))
	harness.WaitReady(t, ns, "web-v1")
	s.load(s.URL)
	s.Apply(web("web-v2", "strategy: canary", `weight: "30"`))
	harness.WaitCondition(t, ns, "web-v2", "grayscale.dev/Accepted", "False", "networking.istio.io/v1")
	if pods := s.pods("web-v2"); len(pods) != 0 {
		t.Errorf("the candidate is not held: %v", pods)
	}

	restore()
	s.Programmed("web-v2", "canary 30% of web")
	s.Served(split{"v1": 70, "v2": 30})
}

// restartAll replaces every process of grayscale, and waits until the old ones have ended.
func restartAll(t *testing.T) {
	t.Helper()
	const system, replicas = "grayscale-system", "app.kubernetes.io/name=grayscale"
	old := harness.PodUIDs(t, system, replicas)
	harness.Kubectl(t, "", "delete", "pods", "-n", system, "-l", replicas, "--wait=false")
	harness.Eventually(t, "all pods of grayscale are new ones", func() error {
		for name := range harness.PodUIDs(t, system, replicas) {
			if _, stays := old[name]; stays {
				return fmt.Errorf("pod %s is still there", name)
			}
		}
		return nil
	})
	harness.WaitReady(t, system, "grayscale")
}
