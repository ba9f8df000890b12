package e2e

import (
	"fmt"
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

// A mirror gets copies: of all requests, of a quarter, and, next to a second mirror, of half. Users never see its
// answers.
func TestMirror(t *testing.T) {
	s, load := startWeb(t)

	s.Apply(web("web-v2", "strategy: mirror"))
	s.Programmed("web-v2", "mirror 100% of web")
	s.copied(split{"v2": 100})

	s.Annotate("web-v2", "mirror-percent=25")
	s.Programmed("web-v2", "mirror 25% of web")
	s.copied(split{"v2": 25})

	s.Apply(web("web-v3", "strategy: mirror", `mirror-percent: "50"`))
	s.Programmed("web-v3", "mirror 50% of web")
	s.copied(split{"v2": 25, "v3": 50})

	s.Annotate("web-v2", "mirror-percent=0")
	s.Programmed("web-v2", "mirror 0% of web")
	s.copied(split{"v2": 0, "v3": 50})

	s.Served(split{"v1": 100})
	for version := range load.AssertNoneLost(t).Versions {
		if version != "v1" && version != harness.Unlabelled {
			t.Errorf("a user got an answer of mirror %s", version)
		}
	}
}

const (
	copiesSample = 300
	// inFlight is how many copies may be in flight while the counters are read.
	inFlight = 5
)

// copied fails the test unless the pods of each version receive that percentage of the requests as copies, and no other
// requests, whichever of the other versions answers those.
func (s story) copied(percent split) {
	s.T.Helper()
	harness.Eventually(s.T, fmt.Sprintf("requests are copied as %v", percent), func() error {
		before := harness.CountsAtPods(s.T, s.NS)
		harness.Counts(s.T, s.URL, copiesSample) // beside the load
		after := harness.CountsAtPods(s.T, s.NS)
		requests := 0
		for version := range after {
			if _, mirror := percent[version]; !mirror {
				requests += after[version].Requests - before[version].Requests
			}
		}
		for version, share := range percent {
			if n := after[version].Requests - before[version].Requests; n != 0 {
				return fmt.Errorf("mirror %s got %d requests that are no copies", version, n)
			}
			copies := after[version].Mirrored - before[version].Mirrored
			if !plausibleCopies(copies, requests, share/100) {
				return fmt.Errorf("version %s got copies of %d of %d requests, want %v%%", version, copies, requests, share)
			}
		}
		return nil
	})
}

// plausibleCopies is harness.Plausible for counts that are read while requests are in flight.
func plausibleCopies(copies, requests int, p float64) bool {
	if p == 1 {
		return copies >= requests-inFlight && copies <= requests+inFlight
	}
	return harness.Plausible(copies, requests, p)
}
