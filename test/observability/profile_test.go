package observability

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

// A replica with --pprof-port serves profiles on loopback, and nowhere else.
func TestProfilesAreServedOnLoopbackAlone(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	host := strings.TrimSuffix(harness.Lab().MeshHost, "2") + "8" // an address of the lab's that nobody has
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	standby := exec.Command(harness.Product(), "--kubeconfig="+harness.Lab().Kubeconfig, "--bind-address="+host, "--leader-elect", "--pprof-port="+port)
	standby.Stdout, standby.Stderr = log, log
	standby.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := standby.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = standby.Process.Kill()
		_ = standby.Wait() // the signal is its error
	})
	harness.Eventually(t, "profiles on loopback", func() error {
		return profile("http://127.0.0.1:" + port)
	})
	if err := profile("http://" + net.JoinHostPort(host, port)); err == nil {
		t.Errorf("profiles are served on %s as well", host)
	}
	if err := profile("http://" + net.JoinHostPort(host, "8080")); err == nil {
		t.Error("profiles are served beside the metrics")
	}
}

func profile(server string) error {
	response, err := http.Get(server + "/debug/pprof/heap?debug=1")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || !strings.Contains(string(body), "heap profile") {
		return fmt.Errorf("%s: %.200s", response.Status, body)
	}
	return nil
}
