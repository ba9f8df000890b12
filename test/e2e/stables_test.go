package e2e

import (
	"strings"
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

// labelled is a Deployment whose pod template has the version label.
func labelled(manifest, version string) string {
	return strings.Replace(manifest, "        instance: ", "        version: "+version+"\n        instance: ", 1)
}

// Two Deployments of one version, one on spot nodes and one on others, are stable together. Both serve stable's share.
// One of them is deleted in the middle of the release, and no client notices.
func TestTwoStablesOfOneVersion(t *testing.T) {
	s := newStory(t)
	s.Apply(all(webService, labelled(web("web-demand"), "v1"), labelled(web("web-spot"), "v1")))
	harness.WaitReady(t, s.NS, "web-demand")
	harness.WaitReady(t, s.NS, "web-spot")
	load := s.load(s.URL)
	history := s.history()
	spot := s.pods("web-spot")

	if out := s.Apply(web("web-v2", "strategy: canary", `stable: "web-demand, web-spot"`)); strings.Contains(out, "Warning") {
		t.Errorf("two stables of one version are warned of: %s", out)
	}
	s.Programmed("web-v2", "canary 0% of web")
	s.Served(split{"v1": 100})
	s.Annotate("web-v2", "weight=50")
	s.Programmed("web-v2", "canary 50% of web")
	s.Served(split{"v1": 50, "v2": 50})

	s.Kubectl("delete", "deploy/web-demand")
	s.Programmed("web-v2", "canary 50% of web")
	s.Served(split{"v1": 50, "v2": 50})
	s.untouched("web-spot", spot)

	s.Annotate("web-v2", "weight=100")
	s.Programmed("web-v2", "canary 100% of web")
	s.Served(split{"v2": 100})
	s.Annotate("web-v2", "strategy-", "weight-", "stable-")
	harness.WaitEvent(t, s.NS, "web-v2", "Promoted", "v2 is stable")
	s.Kubectl("delete", "deploy/web-spot")
	s.NoRoutes()
	s.Served(split{"v2": 100})
	s.noTrace("web-v2")
	load.AssertNoneLost(t)
	history.consistent()
}
