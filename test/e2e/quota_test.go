package e2e

import (
	"strings"
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

const quota = `
apiVersion: v1
kind: ResourceQuota
metadata:
  name: few
spec:
  hard:
    pods: "2"
`

// A quota leaves no room for the candidate's pods. Stable is not affected, the condition quotes the quota's message,
// and the release goes on by itself once there is room, even for only one of two pods.
func TestQuotaReached(t *testing.T) {
	s, load := startWeb(t)
	s.Apply(quota)
	harness.Eventually(t, "the quota is counted", func() error {
		_, err := harness.TryKubectl(t, "", "wait", "-n", s.NS, "resourcequota/few", "--for=jsonpath={.status.used.pods}=2", "--timeout=1s")
		return err
	})
	stable := s.pods("web-v1")

	s.Apply(web("web-v2", "strategy: canary", `weight: "30"`))
	message := harness.WaitCondition(t, s.NS, "web-v2", "grayscale.dev/Programmed", "False", "exceeded quota: few")
	if !strings.Contains(message, "limited: pods=2") || strings.Contains(message, "web-v2-") {
		t.Errorf("the condition says %q", message)
	}
	s.Served(split{"v1": 100})
	s.untouched("web-v1", stable)

	s.Apply(strings.Replace(quota, `"2"`, `"3"`, 1))
	s.Programmed("web-v2", "canary 30% of web")
	s.Served(split{"v1": 70, "v2": 30})
	if n := len(s.pods("web-v2")); n != 1 {
		t.Errorf("the candidate has %d pods, and the quota has room for 1", n)
	}
	load.AssertNoneLost(t)
}
