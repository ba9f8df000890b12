package faults

import (
	"testing"
	"time"

	"grayscale.dev/grayscale/test/harness"
)

// Istio's custom resource definitions are removed in the middle of a release, which removes all routes, and come back.
// Without them Kubernetes balances the requests over all pods; with them the release goes on.
func TestIstioDefinitionsRemovedAndBack(t *testing.T) {
	s := begin(t)
	s.canary(10)
	pods, before := harness.PodUIDs(t, s.NS, "release=web-v1"), restarts(t)
	restore := harness.RemoveIstio(t)
	harness.WaitCondition(t, s.NS, "web-v2", "grayscale.dev/Accepted", "False", "networking.istio.io/v1")
	s.Served(map[string]float64{"v1": 50, "v2": 50}) // two pods each

	gone := len(s.history.Writes(nil))
	restore()
	// First istiod gets the time to find the definitions as well.
	s.written("destinationrules", gone, func(harness.Write) bool { return true })
	fault := time.Now()
	s.programmed("web-v2", 10)
	s.Served(map[string]float64{"v1": 90, "v2": 10})
	s.unmoved(pods)
	if n := restarts(t) - before; n != 0 {
		t.Errorf("grayscale was restarted %d times", n)
	}
	s.end(fault)
}

// unmoved fails the test unless web-v1 still has exactly these pods.
func (s story) unmoved(pods map[string]string) {
	s.T.Helper()
	now := harness.PodUIDs(s.T, s.NS, "release=web-v1")
	for name, uid := range pods {
		if now[name] != uid {
			s.T.Errorf("pod %s of web-v1 is gone; there are %v", name, now)
		}
	}
	if len(pods) == 0 || len(now) != len(pods) {
		s.T.Errorf("web-v1 had %d pods, and has %d", len(pods), len(now))
	}
}
