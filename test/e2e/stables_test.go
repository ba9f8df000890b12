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

// Two Deployments of one version, one on spot nodes and one on others, are stable together: both serve stable's part, one of them is
// deleted in the middle of the release, and nobody notices.
func TestTwoStablesOfOneVersion(t *testing.T) {
	s := newStory(t)
	s.apply(all(webService, labelled(web("web-demand"), "v1"), labelled(web("web-spot"), "v1")))
	harness.WaitReady(t, s.ns, "web-demand")
	harness.WaitReady(t, s.ns, "web-spot")
	load := s.load(s.url)
	history := s.history()
	spot := s.pods("web-spot")

	if out := s.apply(web("web-v2", "strategy: canary", `stable: "web-demand, web-spot"`)); strings.Contains(out, "Warning") {
		t.Errorf("two stables of one version are warned of: %s", out)
	}
	s.programmed("web-v2", "canary 0% of web")
	s.served(split{"v1": 100})
	s.annotate("web-v2", "weight=50")
	s.programmed("web-v2", "canary 50% of web")
	s.served(split{"v1": 50, "v2": 50})

	s.kubectl("delete", "deploy/web-demand")
	s.programmed("web-v2", "canary 50% of web")
	s.served(split{"v1": 50, "v2": 50})
	s.untouched("web-spot", spot)

	s.annotate("web-v2", "weight=100")
	s.programmed("web-v2", "canary 100% of web")
	s.served(split{"v2": 100})
	s.annotate("web-v2", "strategy-", "weight-", "stable-")
	harness.WaitEvent(t, s.ns, "web-v2", "Promoted", "v2 is stable")
	s.kubectl("delete", "deploy/web-spot")
	s.noRoutes()
	s.served(split{"v2": 100})
	s.noTrace("web-v2")
	load.AssertNoneLost(t)
	history.consistent()
}
