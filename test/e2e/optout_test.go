package e2e

import (
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

// Whoever has had enough removes the candidate: nothing that grayscale made is left, and nothing was restarted.
func TestOptOutLeavesNoTrace(t *testing.T) {
	s, _ := startWeb(t)
	stable := s.pods("web-v1")
	s.apply(web("web-v2", "strategy: canary", `weight: "20"`))
	s.programmed("web-v2", "canary 20% of web")
	s.served(split{"v1": 80, "v2": 20})

	s.annotate("web-v2", "strategy-", "weight-")
	s.served(split{"v1": 100})
	s.kubectl("delete", "deploy/web-v2")
	s.noRoutes()
	s.noTrace("web-v1")
	s.served(split{"v1": 100})
	s.untouched("web-v1", stable)

	// It rolls like any other Deployment again.
	s.kubectl("set", "image", "deploy/web-v1", "app=example/web:next")
	harness.WaitReady(t, s.ns, "web-v1")
	s.noRoutes()
}

// Deleting the Service takes its routes with it and leaves the Deployments alone. There is no load: nobody serves without a Service.
func TestServiceDeleted(t *testing.T) {
	s := newStory(t)
	s.apply(all(webService, web("web-v1")))
	harness.WaitReady(t, s.ns, "web-v1")
	stable := s.pods("web-v1")
	s.apply(web("web-v2", "strategy: canary", `weight: "20"`))
	s.programmed("web-v2", "canary 20% of web")
	candidate := s.pods("web-v2")

	s.kubectl("delete", "service/web")
	s.noRoutes()
	harness.WaitCondition(t, s.ns, "web-v2", "grayscale.dev/Accepted", "False", "Service")
	s.untouched("web-v1", stable)
	s.untouched("web-v2", candidate)
}
