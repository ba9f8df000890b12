package e2e

import (
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

// A candidate that loses its last ready pod gets no traffic until it is ready again. The load is stable's alone to lose: a
// version that dies with traffic on it takes the requests of that moment with it, so this story counts none.
func TestCandidateLosesItsPods(t *testing.T) {
	s := newStory(t)
	s.apply(all(webService, web("web-v1")))
	harness.WaitReady(t, s.ns, "web-v1")
	s.apply(web("web-v2", "strategy: canary", `weight: "50"`))
	s.programmed("web-v2", "canary 50% of web")
	s.served(split{"v1": 50, "v2": 50})

	s.kubectl("annotate", "pods", "-l", "instance=web-v2", "lab.grayscale.dev/ready=false")
	harness.WaitCondition(t, s.ns, "web-v2", "grayscale.dev/Programmed", "False", "no pod")
	harness.WaitEvent(t, s.ns, "web-v2", "NoReadyPods", "no pod")
	harness.WaitServed(t, s.url) // the routes are written, and on their way to Envoy
	s.served(split{"v1": 100})

	s.kubectl("annotate", "pods", "-l", "instance=web-v2", "lab.grayscale.dev/ready-")
	s.programmed("web-v2", "canary 50% of web")
	s.served(split{"v1": 50, "v2": 50})
}

// A candidate whose image does not exist never gets traffic; nothing is lost over it.
func TestCandidateThatNeverStarts(t *testing.T) {
	s, _ := startWeb(t)
	s.apply(harness.YAML(t, harness.App{
		Name: "web-v2", Label: "web", Image: "example/web:does-not-exist",
		Annotations: map[string]string{"grayscale.dev/strategy": "blue-green", "grayscale.dev/active": "true"},
	}.Deployment()))
	harness.WaitCondition(t, s.ns, "web-v2", "grayscale.dev/Programmed", "False", "no pod")
	s.served(split{"v1": 100})

	s.kubectl("set", "image", "deploy/web-v2", "app=example/web:2")
	s.programmed("web-v2", "blue-green active for web")
	s.served(split{"v2": 100})
}
