// Package faults breaks what a release depends on, on the lab and under load: one file per fault. Whatever breaks, no
// request is lost that anybody could have served, no VirtualService ever names a subset that is not there, and
// everything is as asked within 10 s after the fault is over. From then on nothing is written.
package faults

import (
	"os"
	"testing"
	"time"

	"grayscale.dev/grayscale/test/harness"
)

// TestMain has Istio's own debounce: what others write in two steps, such as a Service's port and then its
// EndpointSlices, seldom is torn apart by it. At the lab's shorter one a Service loses requests at that with or without
// grayscale.
func TestMain(m *testing.M) {
	os.Exit(harness.Main(m, harness.Options{Grayscale: true, Debounce: 100 * time.Millisecond}))
}
