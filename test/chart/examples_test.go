package chart

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

// The examples are checked by the API server and played as their comments tell, under load: an application's own chart,
// whose values are the release, and a Kustomize overlay.
func TestExamples(t *testing.T) {
	grayscale := &installation{t: t, namespace: "grayscale-system", values: filepath.Join(chart, "ci", "default-values.yaml")}
	grayscale.makeNamespace()
	grayscale.check()
	grayscale.install()
	t.Run("chart", playChart)
	t.Run("overlay", playOverlay)
	harness.Helm(t, "uninstall", "grayscale", "-n", grayscale.namespace, "--wait")
	grayscale.nothingLeft()
}

func playChart(t *testing.T) {
	s := empty(t)
	both := "versions: {v1: {image: 'example/web:v1'}, v2: {image: 'example/web:v2', release: {strategy: canary, weight: '%'}}}"
	upgrade := func(values string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "values.yaml")
		if err := os.WriteFile(file, []byte(values), 0o600); err != nil {
			t.Fatal(err)
		}
		harness.Helm(t, "lint", "--strict", applications, "-f", file)
		strictly(t, s.NS, harness.Helm(t, "template", "web", applications, "-n", s.NS, "-f", file))
		harness.Helm(t, "upgrade", "--install", "web", applications, "-n", s.NS, "-f", file, "--wait")
	}
	weight := func(percent string) string { return strings.ReplaceAll(both, "%", percent) }

	upgrade("versions: {v1: {image: 'example/web:v1'}}")
	s.load()
	upgrade(weight("20"))
	s.programmed("canary 20% of web")
	s.served(80, 20)
	harness.Helm(t, "rollback", "web", "1", "-n", s.NS, "--wait") // Helm deletes the candidate, once its traffic is gone
	s.served(100, 0)
	upgrade(weight("40"))
	s.programmed("canary 40% of web")
	upgrade(weight("100"))
	s.programmed("canary 100% of web")
	upgrade("versions: {v1: {image: 'example/web:v1'}, v2: {image: 'example/web:v2'}}")
	s.served(0, 100)
	upgrade("versions: {v1: null, v2: {image: 'example/web:v2'}}")
	s.served(0, 100)
}

func playOverlay(t *testing.T) {
	s := empty(t)
	overlay := filepath.Join(root, "examples", "overlay")
	apply := func(name string) {
		t.Helper()
		strictly(t, s.NS, harness.Kubectl(t, "", "kustomize", filepath.Join(overlay, name)))
		harness.Kubectl(t, "", "apply", "--server-side", "-n", s.NS, "-k", filepath.Join(overlay, name))
	}
	apply("base")
	harness.WaitReady(t, s.NS, "web-v1")
	s.load()
	apply("canary")
	s.programmed("canary 10% of web")
	s.served(90, 10)
}
