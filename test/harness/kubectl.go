package harness

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/util/retry"
)

// Kubectl runs kubectl as a user would and returns its output, warnings included. stdin may be empty. A non-zero exit
// fails the test. It retries a replace after a conflict: kubectl reads the resourceVersion first, and a status that is
// written in between makes it stale.
func Kubectl(t testing.TB, stdin string, args ...string) string {
	t.Helper()
	var out string
	conflict := func(error) bool { return args[0] == "replace" && strings.Contains(out, "(Conflict)") }
	err := retry.OnError(retry.DefaultBackoff, conflict, func() (err error) {
		out, err = TryKubectl(t, stdin, args...)
		return err
	})
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// TryKubectl is Kubectl for commands that may be refused: the error is the non-zero exit, the text says why.
func TryKubectl(t testing.TB, stdin string, args ...string) (string, error) {
	t.Helper()
	l := current()
	var out bytes.Buffer
	cmd := exec.Command(filepath.Join(l.root, "bin", "kubectl"), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+l.Kubeconfig, "HOME="+l.Dir) // kubectl keeps its caches under HOME
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &out
	err := cmd.Run()
	return out.String(), err
}
