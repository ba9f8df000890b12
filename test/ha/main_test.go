// Package ha ends what serves, on the lab, under load and with grayscale's defaults. Replicas of grayscale end in good
// order, by a crash, and by an update of grayscale itself: another one leads in time, nobody's admission fails, and no
// request is lost. Versions lose their ready pods, once or every second: others answer, and no more is lost than what
// met the pods that failed.
package ha

import (
	"os"
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

func TestMain(m *testing.M) {
	os.Exit(harness.Main(m, harness.Options{Grayscale: true}))
}
