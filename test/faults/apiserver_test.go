package faults

import (
	"testing"
	"time"

	"grayscale.dev/grayscale/test/harness"
)

// The API server crashes in the middle of an adoption, after the DestinationRule and before the VirtualService. Envoy
// goes on with what it has, and the release with what it had done.
func TestAPIServerRestarts(t *testing.T) {
	s := begin(t)
	pods, before := harness.PodUIDs(t, s.NS, "release=web-v1"), restarts(t)
	s.apply("web-v2", 10)
	s.written("destinationrules", s.before, func(harness.Write) bool { return true })
	down := time.Now()
	harness.RestartComponent(t, "kube-apiserver")
	up := time.Now()
	s.programmed("web-v2", 10)
	// It answers some seconds before it is ready: without the wait, the routes would exist by then.
	if w := s.written("virtualservices", s.before, func(harness.Write) bool { return true }); w.At.Before(up.Add(time.Second)) {
		t.Errorf("the routes were written %s after the outage: istiod may not have seen the rule yet", w.At.Sub(up))
	}
	s.Served(map[string]float64{"v1": 90, "v2": 10})
	s.unmoved(pods)
	noCrashLoop(t, before)
	s.end(meshBack(down, up))
}

// meshBack is when istiod's watches must have reconnected after an outage: each waits longer after every attempt.
func meshBack(down, up time.Time) time.Time {
	return up.Add(2*up.Sub(down) + 2*time.Second)
}

// noCrashLoop allows each replica the one restart with which it gives up a lease that it could not renew.
func noCrashLoop(t *testing.T, before int) {
	t.Helper()
	if n := restarts(t) - before; n > len(harness.Replicas(t)) {
		t.Errorf("grayscale was restarted %d times", n)
	}
}
