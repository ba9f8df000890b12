package e2e

import (
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

// A user who wants to stop removes the candidate: nothing that grayscale made is left, and nothing was restarted.
func TestOptOutLeavesNoTrace(t *testing.T) {
	s, _ := startWeb(t)
	stable := s.pods("web-v1")
	s.Apply(web("web-v2", "strategy: canary", `weight: "20"`))
	s.Programmed("web-v2", "canary 20% of web")
	s.Served(split{"v1": 80, "v2": 20})

	s.Annotate("web-v2", "strategy-", "weight-")
	s.Served(split{"v1": 100})
	s.Kubectl("delete", "deploy/web-v2")
	s.NoRoutes()
	s.noTrace("web-v1")
	s.Served(split{"v1": 100})
	s.untouched("web-v1", stable)

	// It rolls out like any other Deployment again.
	s.Kubectl("set", "image", "deploy/web-v1", "app=example/web:next")
	harness.WaitReady(t, s.NS, "web-v1")
	s.NoRoutes()
}

// Deleting the Service deletes its routes and leaves the Deployments alone. There is no load, because nothing can serve
// without a Service.
func TestServiceDeleted(t *testing.T) {
	s := newStory(t)
	s.Apply(all(webService, web("web-v1")))
	harness.WaitReady(t, s.NS, "web-v1")
	stable := s.pods("web-v1")
	s.Apply(web("web-v2", "strategy: canary", `weight: "20"`))
	s.Programmed("web-v2", "canary 20% of web")
	candidate := s.pods("web-v2")

	s.Kubectl("delete", "service/web")
	s.NoRoutes()
	harness.WaitCondition(t, s.NS, "web-v2", "grayscale.dev/Accepted", "False", "Service")
	s.untouched("web-v1", stable)
	s.untouched("web-v2", candidate)
}
