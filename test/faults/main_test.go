// Package faults breaks what a release depends on, on the lab and under load: one file per fault. Whatever breaks, no request
// is lost that anybody could have served, no VirtualService ever names a subset that is not there, and everything is as
// asked within 10 s after the fault is over. From then on nothing is written.
package faults

import (
	"os"
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

func TestMain(m *testing.M) {
	os.Exit(harness.Main(m, harness.Options{Grayscale: true}))
}
