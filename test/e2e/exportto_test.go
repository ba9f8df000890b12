package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

// A Service that is exported to some namespaces is released for the clients there.
func TestServiceExportTo(t *testing.T) {
	s := newStory(t)
	s.Apply(all(exported("., default"), web("web-v1"))) // the mesh client is in namespace default
	harness.WaitReady(t, s.NS, "web-v1")
	load := s.load(s.URL)

	s.Apply(web("web-v2", "strategy: canary", `weight: "30"`))
	s.Programmed("web-v2", "canary 30% of web")
	s.Served(split{"v1": 70, "v2": 30})
	s.routesExportedTo(".", "default")

	// Exported to all in the middle of a release.
	s.Apply(exported("*"))
	s.routesExportedTo()
	s.Served(split{"v1": 70, "v2": 30})
	s.Annotate("web-v2", "weight=100")
	s.Programmed("web-v2", "canary 100% of web")
	s.Served(split{"v2": 100})
	load.AssertNoneLost(t)
}

// routesExportedTo waits until the derived routes are exported to the same namespaces as the Service. Other clients
// would get routes to subsets that they lack.
func (s story) routesExportedTo(namespaces ...string) {
	s.T.Helper()
	harness.Eventually(s.T, "the routes are exported as the Service is", func() error {
		if got := s.Routes("web").Spec.ExportTo; !slices.Equal(got, namespaces) {
			return fmt.Errorf("they are exported to %q", got)
		}
		return nil
	})
}

func exported(to string) string {
	return strings.Replace(webService, "  name: web\n", "  name: web\n  annotations: {networking.istio.io/exportTo: \""+to+"\"}\n", 1)
}
