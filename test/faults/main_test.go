// Package faults breaks what a release depends on, on the lab and under load: one file per fault. With every fault, no
// request is lost that could have been served, no VirtualService ever names a missing subset, and everything is as the
// annotations ask within 10 s after the fault is over. From then on nothing is written.
package faults

import (
	"os"
	"testing"
	"time"

	"grayscale.dev/grayscale/test/harness"
)

// TestMain uses Istio's own debounce: it rarely separates writes that come in two steps, such as a Service's port and
// then its EndpointSlices. With the lab's shorter debounce a Service loses requests then, with or without grayscale.
func TestMain(m *testing.M) {
	os.Exit(harness.Main(m, harness.Options{Grayscale: true, Debounce: 100 * time.Millisecond}))
}
