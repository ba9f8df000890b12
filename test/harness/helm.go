package harness

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Helm runs Helm as the lab's administrator and returns its output; a non-zero exit fails the test.
func Helm(t testing.TB, args ...string) string {
	t.Helper()
	out, err := TryHelm(t, args...)
	if err != nil {
		t.Fatalf("helm %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// TryHelm is Helm for commands that may be refused: the error is the non-zero exit, the text says why.
func TryHelm(t testing.TB, args ...string) (string, error) {
	t.Helper()
	l := current()
	helm := filepath.Join(l.root, ".tools", "bin", "helm")
	if _, err := os.Stat(helm); errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%s is missing: run make .tools/bin/helm", helm)
	}
	var out bytes.Buffer
	cmd := exec.Command(helm, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+l.Kubeconfig, "HOME="+l.Dir) // Helm keeps its caches under HOME
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// UseProduct makes the lab run grayscale's binary for containers with grayscale's image.
func UseProduct(t testing.TB) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(Lab().Dir, "grayscale.path"), []byte(Product()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}
