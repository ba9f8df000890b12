package routing

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// problemReason matches how the packages below this one declare the reasons of their problems.
var problemReason = regexp.MustCompile(`(?m)^\s+Reason\w+ += "(\w+)"`)

// The list has every reason that the source declares, and no others.
func TestReasonsAreAllReasons(t *testing.T) {
	declared := []string{ReasonNoReadyPods, ReasonNewerState}
	for _, room := range []string{"intent", "release", "mesh"} {
		files, err := filepath.Glob(filepath.Join(room, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no source in %s: %v", room, err)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, found := range problemReason.FindAllStringSubmatch(string(source), -1) {
				declared = append(declared, found[1])
			}
		}
	}
	slices.Sort(declared)
	if got := Reasons(); !slices.Equal(got, declared) {
		t.Errorf("Reasons() are %v, the source declares %v", got, declared)
	}
}
