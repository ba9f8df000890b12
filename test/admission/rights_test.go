package admission

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

// The rights of the manifests are enough: no request of grayscale was refused during the earlier tests. This file is
// the last of the package by name, so its test runs last.
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
