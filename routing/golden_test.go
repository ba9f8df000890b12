package routing_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "rewrite the golden .out.yaml files")

// TestGolden plays every testdata/<case>.in.yaml and compares what the engine decides with <case>.out.yaml.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.in.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden inputs: %v", err)
	}
	for _, in := range files {
		t.Run(strings.TrimSuffix(filepath.Base(in), ".in.yaml"), func(t *testing.T) { golden(t, in) })
	}
}

func golden(t *testing.T, in string) {
	raw, err := os.ReadFile(in)
	if err != nil {
		t.Fatal(err)
	}
	var s story
	if err := yaml.UnmarshalStrict(raw, &s); err != nil {
		t.Fatal(err)
	}
	if s.Facts.Now.IsZero() {
		s.Facts.Now = begin
	}
	got, err := yaml.Marshal(tell(t, s))
	if err != nil {
		t.Fatal(err)
	}
	out := strings.TrimSuffix(in, ".in.yaml") + ".out.yaml"
	if *update {
		if err := os.WriteFile(out, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(out)
	if err != nil {
		t.Fatalf("%v; write it with: go test ./routing -run TestGolden -update, then read it", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("decisions differ (-want +got):\n%s", diff)
	}
}
