package faults

import (
	"testing"
	"time"

	"grayscale.dev/grayscale/test/harness"
)

// failover is the 15 s of a lease, the 2 s between two attempts to get it, and a margin for a busy machine.
const failover = 40 * time.Second

// The API server hangs for 30 s, longer than a lease: it accepts connections and answers none. A change that a user
// made meanwhile is applied soon after.
func TestAPIServerStalls30Seconds(t *testing.T) {
	const stall = 30 * time.Second
	s := begin(t)
	s.canary(10)
	before := restarts(t)
	resume := harness.Freeze(t, harness.ComponentPID(t, "kube-apiserver"))
	asked := make(chan error, 1)
	go func() { asked <- harness.Annotate(s.NS, "web-v2", []string{"weight=50"}) }()
	select {
	case err := <-asked:
		t.Fatalf("an API server that hangs has answered: %v", err)
	case <-time.After(stall):
	}
	resume()
	resumed := time.Now()
	if err := <-asked; err != nil { // its connection may have been given up: any user tries again
		harness.Eventually(t, "the annotation is taken", func() error {
			return harness.Annotate(s.NS, "web-v2", []string{"weight=50"})
		})
	}
	// A renewal that waited in the API server's queue counts from now on: the dead holder may keep the lease until it
	// expires.
	harness.Leader(t)
	fault := time.Now()
	if took := fault.Sub(resumed); took > failover {
		t.Errorf("a leader was there after %s, want at most %s", took, failover)
	}
	s.programmed("web-v2", 50)
	s.Served(map[string]float64{"v1": 50, "v2": 50})
	noCrashLoop(t, before)
	s.end(fault)
}
