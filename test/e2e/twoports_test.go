package e2e

import (
	"fmt"
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

// A Service with an HTTP and a TCP port is released as a whole: both ports get the weight, and neither gets the other's
// traffic.
func TestTwoPorts(t *testing.T) {
	s := newStory(t)
	s.Apply(all(fmt.Sprintf(bothService, twoPortsPort), deployment("shop", "shop-v1")))
	harness.WaitReady(t, s.NS, "shop-v1")
	urls := []string{harness.URL(s.NS, "shop", 80), harness.TCPURL(s.NS, "shop", twoPortsPort)}
	for _, url := range urls {
		s.load(url)
	}

	s.Apply(deployment("shop", "shop-v2", "strategy: canary", `weight: "30"`))
	s.Programmed("shop-v2", "canary 30% of shop")
	for _, url := range urls {
		harness.AssertSplit(t, url, split{"v1": 70, "v2": 30})
	}

	s.Annotate("shop-v2", "weight=100")
	s.Programmed("shop-v2", "canary 100% of shop")
	for _, url := range urls {
		harness.AssertOnly(t, url, "v2")
	}
}
