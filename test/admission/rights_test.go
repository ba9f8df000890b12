package admission

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

// grayscale gets by with the rights that its manifests give: nothing it tried was refused. It looks at all
// that the tests before it made it do: this file is the last of the package by name, and so its test the last to run.
func TestRightsSuffice(t *testing.T) {
	logs, err := filepath.Glob(filepath.Join(harness.Lab().Dir, "logs", "grayscale-system_*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("no logs of grayscale: %v", err)
	}
	for _, path := range logs {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(content)) {
			if strings.Contains(line, "is forbidden: User") {
				t.Errorf("%s: %s", filepath.Base(path), line)
			}
		}
	}
}
