package e2e

import (
	"fmt"
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

// A Service with an HTTP and a TCP port is released as one: both ports get the weight, and neither takes the other's traffic.
func TestTwoPorts(t *testing.T) {
	s := newStory(t)
	s.apply(all(fmt.Sprintf(bothService, twoPortsPort), deployment("shop", "shop-v1")))
	harness.WaitReady(t, s.ns, "shop-v1")
	urls := []string{harness.URL(s.ns, "shop", 80), harness.TCPURL(s.ns, "shop", twoPortsPort)}
	for _, url := range urls {
		s.load(url)
	}

	s.apply(deployment("shop", "shop-v2", "strategy: canary", `weight: "30"`))
	s.programmed("shop-v2", "canary 30% of shop")
	for _, url := range urls {
		harness.AssertSplit(t, url, split{"v1": 70, "v2": 30})
	}

	s.annotate("shop-v2", "weight=100")
	s.programmed("shop-v2", "canary 100% of shop")
	for _, url := range urls {
		harness.AssertOnly(t, url, "v2")
	}
}
