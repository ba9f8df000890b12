package e2e

import (
	"strings"
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

// A second Service selects the candidate's pods, and the candidate does not name it: none of its requests reaches them,
// from the hold to the end of the release.
func TestSecondServiceNotNamed(t *testing.T) {
	s, load, second, before := startTwoServices(t)
	answer := s.Apply(web("web-v2", "strategy: canary", "service: web", `weight: "0"`))
	if strings.Contains(answer, "no stable Deployment") {
		t.Errorf("kubectl shows a wrong warning:\n%s", answer)
	}
	s.Programmed("web-v2", "canary 0% of web")
	harness.WaitCondition(t, s.NS, "web-v2", "grayscale.dev/Accepted", "True", "Service web-internal, which grayscale.dev/service does not name, goes to stable alone")
	s.Served(split{"v1": 100})
	harness.AssertSplit(t, second, split{"v1": 100})

	s.Annotate("web-v2", "weight=50")
	s.Programmed("web-v2", "canary 50% of web")
	s.Served(split{"v1": 50, "v2": 50})
	harness.AssertSplit(t, second, split{"v1": 100})

	s.Annotate("web-v2", "weight=100")
	s.Programmed("web-v2", "canary 100% of web")
	s.Served(split{"v2": 100})
	harness.AssertSplit(t, second, split{"v1": 100})
	if n := before.AssertNoneLost(t).Versions["v2"]; n > 0 {
		t.Errorf("%d requests of web-internal reached v2, which nobody released behind it", n)
	}

	// Once it is stable, it serves both Services: the end of the old version loses no request of either.
	after := s.load(second)
	s.Annotate("web-v2", "strategy-", "weight-")
	harness.WaitEvent(t, s.NS, "web-v2", "Promoted", "v2 is stable behind Service web-internal")
	harness.AssertSplit(t, second, split{"v2": 100})
	s.Kubectl("delete", "deploy/web-v1")
	s.NoRoutes()
	s.Served(split{"v2": 100})
	load.AssertNoneLost(t)
	after.AssertNoneLost(t)
}

// Two Services that a candidate names get the same split, and end together.
func TestSecondServiceNamed(t *testing.T) {
	s, load, second, other := startTwoServices(t)
	s.Apply(web("web-v2", "strategy: canary", `service: "web, web-internal"`, `weight: "30"`))
	s.Programmed("web-v2", "canary 30% of web, web-internal")
	for _, url := range []string{s.URL, second} {
		harness.AssertSplit(t, url, split{"v1": 70, "v2": 30})
	}
	s.Annotate("web-v2", "weight=100")
	s.Programmed("web-v2", "canary 100% of web, web-internal")
	for _, url := range []string{s.URL, second} {
		harness.AssertSplit(t, url, split{"v2": 100})
	}
	s.Annotate("web-v2", "strategy-", "weight-", "service-")
	for _, service := range []string{"web", "web-internal"} {
		harness.WaitEvent(t, s.NS, "web-v2", "Promoted", "v2 is stable behind Service "+service+" now")
	}
	s.Kubectl("scale", "deploy/web-v1", "--replicas=0")
	s.NoRoutes()
	s.noTrace("web-v1")
	s.noTrace("web-v2")
	load.AssertNoneLost(t)
	other.AssertNoneLost(t)
}

// An abort takes the traffic of both Services back, and neither sends requests to the candidate's pods while they
// exist.
func TestSecondServiceAborted(t *testing.T) {
	s, load, second, other := startTwoServices(t)
	s.Apply(web("web-v2", "strategy: canary", `service: "web-internal"`, `weight: "50"`))
	s.Programmed("web-v2", "canary 50% of web-internal")
	s.Served(split{"v1": 100})
	harness.AssertSplit(t, second, split{"v1": 50, "v2": 50})
	s.Annotate("web-v2", "strategy-", "weight-", "service-")
	harness.WaitEvent(t, s.NS, "web-v2", "Aborted", "all traffic of Service web-internal goes to stable")
	for _, url := range []string{s.URL, second} {
		harness.AssertSplit(t, url, split{"v1": 100})
	}
	s.Kubectl("delete", "deploy/web-v2")
	s.NoRoutes()
	s.noTrace("web-v1")
	other.AssertNoneLost(t)
	if n := load.AssertNoneLost(t).Versions["v2"]; n > 0 {
		t.Errorf("%d requests of web reached v2, which nobody released behind it", n)
	}
}

// A foreign VirtualService holds the second Service's host: the candidate has no pods until that is fixed.
func TestSecondServiceRoutedByAnother(t *testing.T) {
	s, load, second, other := startTwoServices(t)
	s.Apply(`
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: theirs
spec:
  hosts: [web-internal]
  http:
  - route:
    - destination: {host: web-internal}
`)
	s.Apply(web("web-v2", "strategy: canary", "service: web", `weight: "50"`))
	harness.WaitCondition(t, s.NS, "web-v2", "grayscale.dev/Accepted", "False", "Service web-internal, which grayscale.dev/service does not name, cannot be pinned to stable: VirtualService "+s.NS+"/theirs")
	harness.WaitCondition(t, s.NS, "web-v2", "grayscale.dev/Programmed", "False", "held at zero pods until the routes that pin Service web-internal")
	if pods := s.pods("web-v2"); len(pods) > 0 {
		t.Errorf("the candidate has pods %v, which web-internal would find", pods)
	}
	s.Kubectl("delete", "virtualservice/theirs")
	s.Programmed("web-v2", "canary 50% of web")
	s.Served(split{"v1": 50, "v2": 50})
	harness.AssertSplit(t, second, split{"v1": 100})
	load.AssertNoneLost(t)
	if n := other.AssertNoneLost(t).Versions["v2"]; n > 0 {
		t.Errorf("%d requests of web-internal reached v2, which nobody released behind it", n)
	}
}

// A Service that is created in the middle of a release sends everything to stable from then on.
func TestSecondServiceComesLater(t *testing.T) {
	s, load := startWeb(t)
	s.Apply(web("web-v2", "strategy: canary", "service: web", `weight: "50"`))
	s.Programmed("web-v2", "canary 50% of web")
	s.Apply(webInternal())
	second := harness.URL(s.NS, "web-internal", 80)
	other := s.load(second)
	harness.WaitCondition(t, s.NS, "web-v2", "grayscale.dev/Accepted", "True", "Service web-internal, which grayscale.dev/service does not name, goes to stable alone")
	harness.WaitEvent(t, s.NS, "web-v1", "Pinned", "Service web-internal is pinned to stable")
	harness.AssertSplit(t, second, split{"v1": 100})
	s.Served(split{"v1": 50, "v2": 50})
	load.AssertNoneLost(t)
	other.AssertNoneLost(t)
}

func webInternal() string {
	return strings.Replace(webService, "  name: web\n", "  name: web-internal\n", 1)
}

// startTwoServices applies two Services with web-v1 behind both, and starts a load on each; second is the other one's
// URL.
func startTwoServices(t *testing.T) (s story, load *harness.Load, second string, other *harness.Load) {
	t.Helper()
	s = newStory(t)
	s.Apply(all(webService, webInternal(), web("web-v1")))
	harness.WaitReady(t, s.NS, "web-v1")
	second = harness.URL(s.NS, "web-internal", 80)
	return s, s.load(s.URL), second, s.load(second)
}
