package e2e

import (
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

// At 100 % the old Deployment is deleted: the candidate is stable, its annotations have no effect any more, and the
// routes are deleted.
func TestPromotionByDeletingOld(t *testing.T) {
	s, _ := startWeb(t)
	s.Apply(web("web-v2", "strategy: canary", `weight: "100"`))
	s.Programmed("web-v2", "canary 100% of web")
	s.Served(split{"v2": 100})
	promoted := s.pods("web-v2")

	s.Kubectl("delete", "deploy/web-v1")
	s.NoRoutes()
	s.Served(split{"v2": 100})
	harness.WaitCondition(t, s.NS, "web-v2", "grayscale.dev/Accepted", "True", "is stable")

	// The next candidate is released against it.
	s.Apply(web("web-v3", "strategy: canary", `weight: "20"`))
	s.Programmed("web-v3", "canary 20% of web")
	s.Served(split{"v2": 80, "v3": 20})
	s.untouched("web-v2", promoted)
}

// At 100 % the strategy is removed: the candidate is stable while the old Deployment still exists, and the routes are
// deleted with that.
func TestPromotionByRemovingStrategy(t *testing.T) {
	s, _ := startWeb(t)
	s.Apply(web("web-v2", "strategy: canary", `weight: "100"`))
	s.Programmed("web-v2", "canary 100% of web")
	s.Served(split{"v2": 100})
	promoted := s.pods("web-v2")

	s.Annotate("web-v2", "strategy-", "weight-")
	harness.WaitEvent(t, s.NS, "web-v2", "Promoted", "v2 is stable")
	s.Served(split{"v2": 100})
	s.weights("web", map[string]int32{"v2": 0})

	s.Kubectl("scale", "deploy/web-v1", "--replicas=0")
	s.NoRoutes()
	s.Served(split{"v2": 100})
	s.untouched("web-v2", promoted)
	s.noTrace("web-v1")
	s.noTrace("web-v2")
}
