package e2e

import (
	"strings"
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

// v3 arrives while v2 has weight 20 and was never ready. Each gets its share when it is ready, and neither waits for
// the other.
func TestThirdVersionWhileSecondIsNotReady(t *testing.T) {
	s, _ := startWeb(t)
	history := s.history()
	s.Apply(unready(web("web-v2", "strategy: canary", `weight: "20"`)))
	harness.WaitCondition(t, s.NS, "web-v2", "grayscale.dev/Programmed", "False", "no pod of")
	s.Apply(web("web-v3", "strategy: canary", `weight: "30"`))
	s.Programmed("web-v3", "canary 30% of web")
	s.Served(split{"v1": 70, "v3": 30})

	s.probes("web-v2", true)
	s.Programmed("web-v2", "canary 20% of web")
	s.Served(split{"v1": 50, "v2": 20, "v3": 30})
	history.consistent()
}

// The weights of two candidates may add up to at most 100. A higher weight is refused, for the older candidate as for
// the younger, and every route stays.
func TestWeightsOfTwoPassHundred(t *testing.T) {
	s, _ := startWeb(t)
	history := s.history()
	s.Apply(web("web-v2", "strategy: canary", `weight: "60"`))
	s.Programmed("web-v2", "canary 60% of web")
	s.Apply(web("web-v3", "strategy: canary", `weight: "30"`))
	s.Programmed("web-v3", "canary 30% of web")
	s.Served(split{"v1": 10, "v2": 60, "v3": 30})

	before := len(history.routes())
	for name, weight := range map[string]string{"web-v2": "80", "web-v3": "50"} {
		out, err := harness.TryKubectl(t, "", "annotate", "--overwrite", "-n", s.NS, "deploy/"+name, "grayscale.dev/weight="+weight)
		if err == nil || !strings.Contains(out, "at most 100") {
			t.Errorf("weight %s of %s: %v: %s", weight, name, err, out)
		}
	}
	s.Served(split{"v1": 10, "v2": 60, "v3": 30})
	if n := len(history.routes()) - before; n != 0 {
		t.Errorf("the VirtualService was written %d times over weights that were refused", n)
	}

	s.Annotate("web-v2", "weight=50")
	s.Annotate("web-v3", "weight=50")
	s.Programmed("web-v2", "canary 50% of web")
	s.Programmed("web-v3", "canary 50% of web")
	s.Served(split{"v2": 50, "v3": 50})
	history.consistent()
}

// Two mirrors and a canary: both mirrors get copies of the requests to stable and to the canary, and users never get
// their answers.
func TestTwoMirrorsAndACanary(t *testing.T) {
	s, load := startWeb(t)
	history := s.history()
	s.Apply(all(web("web-v2", "strategy: canary", `weight: "40"`), web("web-v3", "strategy: mirror"),
		web("web-v4", "strategy: mirror", `mirror-percent: "50"`)))
	s.Programmed("web-v2", "canary 40% of web")
	s.Programmed("web-v3", "mirror 100% of web")
	s.Programmed("web-v4", "mirror 50% of web")
	s.Served(split{"v1": 60, "v2": 40})
	s.copied(split{"v3": 100, "v4": 50})

	// One mirror ends, the canary goes on, and the other mirror does not notice.
	s.Annotate("web-v3", "strategy-")
	s.Annotate("web-v2", "weight=100")
	s.Programmed("web-v2", "canary 100% of web")
	s.Served(split{"v2": 100})
	s.copied(split{"v3": 0, "v4": 50})
	for version := range load.AssertNoneLost(t).Versions {
		if version == "v3" || version == "v4" {
			t.Errorf("a user got an answer of mirror %s", version)
		}
	}
	history.consistent()
}

// One candidate is promoted while another one runs. The other's release goes on, against the new stable.
func TestOneIsPromotedWhileAnotherRuns(t *testing.T) {
	s, _ := startWeb(t)
	history := s.history()
	s.Apply(web("web-v2", "strategy: canary", `weight: "100"`))
	s.Programmed("web-v2", "canary 100% of web")
	s.Apply(web("web-v3", "strategy: canary"))
	s.Programmed("web-v3", "canary 0% of web")
	promoted, running := s.pods("web-v2"), s.pods("web-v3")

	s.Annotate("web-v2", "strategy-", "weight-")
	harness.WaitEvent(t, s.NS, "web-v2", "Promoted", "v2 is stable")
	s.Annotate("web-v3", "weight=25")
	s.Programmed("web-v3", "canary 25% of web")
	s.Served(split{"v2": 75, "v3": 25})

	s.Kubectl("delete", "deploy/web-v1")
	s.subsets("web", "v2", "v3")
	s.Programmed("web-v3", "canary 25% of web")
	s.Served(split{"v2": 75, "v3": 25})
	s.untouched("web-v2", promoted)
	s.untouched("web-v3", running)
	history.consistent()
}

// Stable is deleted while two candidates share all traffic. The one with more traffic becomes stable, and the other
// keeps its share.
func TestStableIsDeletedWhileTwoShare(t *testing.T) {
	s, _ := startWeb(t)
	history := s.history()
	s.Apply(all(web("web-v2", "strategy: canary", `weight: "30"`), web("web-v3", "strategy: canary", `weight: "70"`)))
	s.Programmed("web-v2", "canary 30% of web")
	s.Programmed("web-v3", "canary 70% of web")
	s.Served(split{"v2": 30, "v3": 70})

	s.Kubectl("delete", "deploy/web-v1")
	harness.WaitCondition(t, s.NS, "web-v3", "grayscale.dev/Programmed", "True", "is stable")
	s.Programmed("web-v2", "canary 30% of web")
	s.Served(split{"v2": 30, "v3": 70})

	s.Annotate("web-v2", "weight=60")
	s.Programmed("web-v2", "canary 60% of web")
	s.Served(split{"v2": 60, "v3": 40})
	history.consistent()
}
