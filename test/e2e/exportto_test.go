package e2e

import (
	"strings"
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

// A Service that is exported to some namespaces is released for the clients there.
func TestServiceExportTo(t *testing.T) {
	s := newStory(t)
	s.apply(all(exported("., default"), web("web-v1"))) // the mesh client is in namespace default
	harness.WaitReady(t, s.ns, "web-v1")
	load := s.load(s.url)

	s.apply(web("web-v2", "strategy: canary", `weight: "30"`))
	s.programmed("web-v2", "canary 30% of web")
	s.served(split{"v1": 70, "v2": 30})

	// Exported to all in the middle of a release.
	s.apply(exported("*"))
	s.served(split{"v1": 70, "v2": 30})
	s.annotate("web-v2", "weight=100")
	s.programmed("web-v2", "canary 100% of web")
	s.served(split{"v2": 100})
	load.AssertNoneLost(t)
}

func exported(to string) string {
	return strings.Replace(webService, "  name: web\n", "  name: web\n  annotations: {networking.istio.io/exportTo: \""+to+"\"}\n", 1)
}
