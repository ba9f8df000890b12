// Package ha ends replicas and pods, on the lab, under load and with grayscale's defaults. Replicas of grayscale shut
// down, crash, and are updated: another one leads in time, no admission fails, and no request is lost. Versions lose
// their ready pods, once or every second: others answer, and only requests that reached the failing pods are lost.
package ha

import (
	"os"
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

func TestMain(m *testing.M) {
	os.Exit(harness.Main(m, harness.Options{Grayscale: true}))
}
