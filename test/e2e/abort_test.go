package e2e

import (
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

// Removing the strategy below 100 % takes all traffic back to stable, and keeps it there while the candidate exists.
func TestAbort(t *testing.T) {
	s, _ := startWeb(t)
	stable := s.pods("web-v1")
	s.Apply(web("web-v2", "strategy: canary", `weight: "60"`))
	s.Programmed("web-v2", "canary 60% of web")
	s.Served(split{"v1": 40, "v2": 60})
	candidate := s.pods("web-v2")

	s.Annotate("web-v2", "strategy-", "weight-")
	s.Served(split{"v1": 100})
	harness.WaitEvent(t, s.NS, "web-v2", "Aborted", "web")
	s.noTrace("web-v2")
	s.untouched("web-v2", candidate) // to be looked into
	s.weights("web", map[string]int32{"v1": 0})

	// Annotated again it goes on.
	s.Annotate("web-v2", "strategy=canary", "weight=30")
	s.Programmed("web-v2", "canary 30% of web")
	s.Served(split{"v1": 70, "v2": 30})

	s.Annotate("web-v2", "strategy-", "weight-")
	s.Served(split{"v1": 100})
	s.Kubectl("scale", "deploy/web-v2", "--replicas=0")
	s.NoRoutes()
	s.noTrace("web-v1")
	s.Served(split{"v1": 100})
	s.untouched("web-v1", stable)
}
