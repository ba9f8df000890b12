package e2e

import (
	"fmt"
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

// A canary of a TCP Service is shared by connections.
func TestCanaryTCP(t *testing.T) {
	s := newStory(t)
	s.Apply(all(fmt.Sprintf(tcpService, canaryTCPPort), deployment("store", "store-v1")))
	harness.WaitReady(t, s.NS, "store-v1")
	url := harness.TCPURL(s.NS, "store", canaryTCPPort)
	s.load(url)
	stable := s.pods("store-v1")

	s.Apply(deployment("store", "store-v2", "strategy: canary", `weight: "20"`))
	s.Programmed("store-v2", "canary 20% of store")
	harness.AssertSplit(t, url, split{"v1": 80, "v2": 20})

	s.Annotate("store-v2", "weight=100")
	s.Programmed("store-v2", "canary 100% of store")
	harness.AssertOnly(t, url, "v2")

	s.Annotate("store-v2", "weight=0")
	s.Programmed("store-v2", "canary 0% of store")
	harness.AssertOnly(t, url, "v1")
	s.untouched("store-v1", stable)
}
