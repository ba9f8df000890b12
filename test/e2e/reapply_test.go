package e2e

import (
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

// The same manifests are applied again in the middle of a release, as deployment pipelines do. With any tool, nothing
// is rolled out and no route changes.
func TestReapply(t *testing.T) {
	for name, command := range map[string][]string{
		"client-side": {"apply"},
		"server-side": {"apply", "--server-side"},
	} {
		t.Run(name, func(t *testing.T) { reapply(t, command, command) })
	}
	t.Run("replace", func(t *testing.T) { reapply(t, []string{"create"}, []string{"replace"}) })
}

func reapply(t *testing.T, first, again []string) {
	s := newStory(t)
	stable, candidate := all(webService, web("web-v1")), web("web-v2", "strategy: canary", `weight: "30"`)
	use := func(command []string, manifests string) {
		harness.Kubectl(t, manifests, append(command, "-n", s.NS, "-f", "-")...)
	}
	use(first, stable)
	harness.WaitReady(t, s.NS, "web-v1")
	s.load(s.URL)
	use(first, candidate)
	s.Programmed("web-v2", "canary 30% of web")
	s.Served(split{"v1": 70, "v2": 30})
	stablePods, candidatePods := s.pods("web-v1"), s.pods("web-v2")

	for range 3 {
		use(again, stable)
		use(again, candidate)
	}
	s.Served(split{"v1": 70, "v2": 30})
	s.Programmed("web-v2", "canary 30% of web")
	harness.WaitReady(t, s.NS, "web-v1")
	harness.WaitReady(t, s.NS, "web-v2")
	s.untouched("web-v1", stablePods)
	s.untouched("web-v2", candidatePods)
	s.labelled("web-v1", "v1", 2)
	s.labelled("web-v2", "v2", 2)
}
