package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// CertManager runs cert-manager's controllers and its cainjector until the test ends, with its definitions.
func CertManager(t testing.TB) {
	t.Helper()
	l := current()
	binary := filepath.Join(l.root, "bin", "certmanager")
	if _, err := os.Stat(binary); err != nil {
		t.Fatalf("%s is missing: run make certmanager", binary)
	}
	list := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/cert-manager/cert-manager")
	list.Dir = l.root
	module, err := list.Output()
	if err != nil {
		t.Fatalf("the module of cert-manager: %v", err)
	}
	for _, kind := range []string{"issuers", "clusterissuers", "certificates", "certificaterequests"} {
		file := filepath.Join(strings.TrimSpace(string(module)), "deploy", "crds", "cert-manager.io_"+kind+".yaml")
		Kubectl(t, "", "apply", "--server-side", "-f", file)
		t.Cleanup(func() { Kubectl(t, "", "delete", "-f", file) })
		WaitEstablished(t, kind+".cert-manager.io")
	}
	output, err := os.Create(filepath.Join(l.Dir, "logs", "certmanager.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = output.Close() }() // the child has its own
	cmd := exec.Command(binary, "--kubeconfig="+l.Kubeconfig)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the kernel ends the child with the thread that started it
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // an error means that it has ended already
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("cert-manager: %v\n%s", err, tail(output.Name(), ""))
			}
		case <-time.After(downLimit):
			_ = cmd.Process.Kill() // nothing depends on a clean end
			t.Errorf("cert-manager did not end within %s: %v", downLimit, <-ended)
		}
	})
}
