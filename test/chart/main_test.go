// Package chart installs the Helm chart on the lab as its users do, with each of its ci/*-values.yaml: every manifest
// is held against the API server's own schema, a canary runs under load from before the upgrade to after the
// uninstallation, and nothing may be left, paused or lost.
package chart

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

var (
	root         = filepath.Join("..", "..")
	chart        = filepath.Join(root, "manifests", "chart")
	applications = filepath.Join(root, "examples", "chart")
)

func TestMain(m *testing.M) {
	os.Exit(harness.Main(m, harness.Options{}))
}

// strictly has the API server check manifests without keeping them: dryRun=All, and fieldValidation=Strict, which
// refuses fields that are unknown or given twice. The namespace may be empty where the manifests name theirs.
func strictly(t *testing.T, namespace, manifests string) {
	t.Helper()
	args := []string{"apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-"}
	if namespace != "" {
		args = append(args, "-n", namespace)
	}
	out := harness.Kubectl(t, manifests, args...)
	if strings.Contains(out, "Warning") {
		t.Errorf("the API server warns of the manifests: %s", out)
	}
}
