// Package e2e tests users' stories on the lab, from kubectl to Envoy's answers: one file per story. Load runs through
// the mesh for the whole length of each, and no request may be lost.
package e2e

import (
	"os"
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

func TestMain(m *testing.M) {
	os.Exit(harness.Main(m, harness.Options{Grayscale: true}))
}
