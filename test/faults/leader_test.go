package faults

import (
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"grayscale.dev/grayscale/test/harness"
)

// The leader is stopped in the middle of a release, just before it sends the first requests to the candidate, and for
// longer than its lease. Another replica takes over, and goes on to larger shares. When the old leader wakes up, it
// still considers itself the leader, its next write is due, and its data is old: it must not win.
func TestLeaderStopsAndResumes(t *testing.T) {
	s := begin(t)
	leader, before := harness.Leader(t), restarts(t)
	s.apply("web-v2", 10)
	harness.WaitDeployment(t, s.NS, "web-v2", "its pods settle", func(d *appsv1.Deployment) bool {
		return condition(d, "grayscale.dev/Programmed").Reason == "Settling"
	})
	resume := harness.Freeze(t, leader.PID)
	s.programmed("web-v2", 10)
	s.weigh(60)
	s.programmed("web-v2", 60)
	resume()
	fault := time.Now()
	s.weigh(80) // both lead
	s.programmed("web-v2", 80)
	s.Served(map[string]float64{"v1": 20, "v2": 80})
	s.neverLess("v2")
	s.end(fault)
	harness.Eventually(t, "the old leader has noticed", func() error {
		if n := restarts(t); n == before {
			return fmt.Errorf("pod %s still runs the process that was stopped", leader.Pod)
		}
		return nil
	})
	harness.Leader(t) // exactly one, for the next tests
}

// neverLess fails the test if a version's weight has ever gone down.
func (s story) neverLess(version string) {
	s.T.Helper()
	var last int32
	for _, w := range s.history.Writes(func(w harness.Write) bool { return w.Kind == "virtualservices" && w.Name == derived }) {
		if w.Weights[version] < last {
			s.T.Errorf("the weight of %s went from %d to %d at revision %d", version, last, w.Weights[version], w.Revision)
		}
		last = w.Weights[version]
	}
}
