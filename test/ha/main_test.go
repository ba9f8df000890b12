// Package ha ends replicas of grayscale in every way, on the lab and under load: in good order, by a crash, and by an update
// of grayscale itself. Another replica leads in time, nobody's admission fails, and no request is lost.
package ha

import (
	"os"
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

func TestMain(m *testing.M) {
	os.Exit(harness.Main(m, harness.Options{Grayscale: true}))
}
