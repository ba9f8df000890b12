// Package chart installs the Helm chart on the lab as its users do, with each of its ci/*-values.yaml: every manifest is
// held against the API server's own schema, a canary runs under load from before the upgrade to after the uninstallation,
// and nothing may be left, paused or lost.
package chart

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

var (
	root         = filepath.Join("..", "..")
	chart        = filepath.Join(root, "manifests", "chart")
	applications = filepath.Join(root, "examples", "chart")
	helmBinary   = filepath.Join(root, ".tools", "bin", "helm")
)

func TestMain(m *testing.M) {
	os.Exit(harness.Main(m, harness.Options{}))
}

// helm runs Helm as the lab's administrator; a non-zero exit fails the test.
func helm(t *testing.T, args ...string) string {
	t.Helper()
	out, err := tryHelm(t, args...)
	if err != nil {
		t.Fatalf("helm %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// tryHelm is helm for commands that may be refused: the error is the non-zero exit, the text says why.
func tryHelm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	if _, err := os.Stat(helmBinary); errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%s is missing: run make .tools/bin/helm", helmBinary)
	}
	lab := harness.Lab()
	var out bytes.Buffer
	cmd := exec.Command(helmBinary, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+lab.Kubeconfig, "HOME="+lab.Dir) // Helm keeps its caches under HOME
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// strictly has the API server check manifests without keeping them: dryRun=All, and fieldValidation=Strict, which refuses
// fields that are unknown or given twice. The namespace may be empty where the manifests name theirs.
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
