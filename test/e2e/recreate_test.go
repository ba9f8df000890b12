package e2e

import (
	"strings"
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

// Deployments with strategy Recreate are released like others: the adoption restarts nothing, and no request is lost if
// a candidate's template changes while it gets no traffic.
func TestRecreate(t *testing.T) {
	s := newStory(t)
	s.Apply(all(webService, recreate(web("web-v1"))))
	harness.WaitReady(t, s.NS, "web-v1")
	load := s.load(s.URL)
	stable := s.pods("web-v1")

	s.Apply(recreate(web("web-v2", "strategy: canary", `weight: "30"`)))
	s.Programmed("web-v2", "canary 30% of web")
	s.Served(split{"v1": 70, "v2": 30})
	s.untouched("web-v1", stable)

	s.Annotate("web-v2", "weight=0")
	s.Programmed("web-v2", "canary 0% of web")
	s.Served(split{"v1": 100})
	before := s.pods("web-v2")
	s.Kubectl("set", "env", "deploy/web-v2", "MODE=new")
	harness.WaitReady(t, s.NS, "web-v2")
	for name := range s.pods("web-v2") {
		if _, old := before[name]; old {
			t.Errorf("pod %s was not replaced", name)
		}
	}
	s.Annotate("web-v2", "weight=100")
	s.Programmed("web-v2", "canary 100% of web")
	s.Served(split{"v2": 100})
	s.untouched("web-v1", stable)

	s.Kubectl("delete", "deploy/web-v1")
	s.NoRoutes()
	s.Served(split{"v2": 100})
	load.AssertNoneLost(t)
}

func recreate(deployment string) string {
	return strings.Replace(deployment, "spec:\n  replicas", "spec:\n  strategy: {type: Recreate}\n  replicas", 1)
}
