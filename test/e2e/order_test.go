package e2e

import (
	"strings"
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

// Manifests come in any order. A warning says what is missing, the candidate waits without pods, and goes on by itself.
func TestOrderCandidateServiceStable(t *testing.T) {
	s := newStory(t)
	candidate := web("web-v2", "strategy: canary", `weight: "30"`)
	if out := s.Apply(candidate); !strings.Contains(out, "Warning:") {
		t.Errorf("a candidate without a Service gets no warning: %s", out)
	}
	harness.WaitCondition(t, s.NS, "web-v2", "grayscale.dev/Accepted", "False", "no Service")
	s.Apply(webService)
	harness.WaitCondition(t, s.NS, "web-v2", "grayscale.dev/Accepted", "False", "no stable Deployment")
	if pods := s.pods("web-v2"); len(pods) != 0 {
		t.Errorf("the candidate runs before its Service is pinned: %v", pods)
	}
	s.Apply(web("web-v1"))
	s.load(s.URL)
	s.Programmed("web-v2", "canary 30% of web")
	s.Served(split{"v1": 70, "v2": 30})
}

func TestOrderCandidateStableService(t *testing.T) {
	s := newStory(t)
	s.Apply(web("web-v2", "strategy: canary", `weight: "30"`))
	s.Apply(web("web-v1"))
	harness.WaitReady(t, s.NS, "web-v1")
	stable := s.pods("web-v1")
	s.Apply(webService)
	s.load(s.URL)
	s.Programmed("web-v2", "canary 30% of web")
	s.Served(split{"v1": 70, "v2": 30})
	s.untouched("web-v1", stable)
}

// All in one file, the candidate first.
func TestOrderAllAtOnce(t *testing.T) {
	s := newStory(t)
	s.Apply(all(web("web-v2", "strategy: canary", `weight: "30"`), web("web-v1"), webService))
	s.load(s.URL)
	s.Programmed("web-v2", "canary 30% of web")
	s.Served(split{"v1": 70, "v2": 30})
}

// Istio takes the Service's port for UDP. A canary waits until the Service has a port that routes apply to.
func TestOrderServicePortLater(t *testing.T) {
	s := newStory(t)
	s.Apply(all(`
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector:
    app: web
  ports:
  - name: dns
    port: 53
    protocol: UDP
`, web("web-v1")))
	harness.WaitReady(t, s.NS, "web-v1")
	s.Apply(web("web-v2", "strategy: canary", `weight: "30"`))
	harness.WaitCondition(t, s.NS, "web-v2", "grayscale.dev/Accepted", "False", "port")
	s.Kubectl("delete", "service/web")
	s.Apply(webService)
	s.load(s.URL)
	s.Programmed("web-v2", "canary 30% of web")
	s.Served(split{"v1": 70, "v2": 30})
}
