// Package start tests what a user of the lab sees while it starts. Its labs are its own.
package start

import (
	"bufio"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

// taker is what the lab says at the moment when another process takes a port of it: the ports were free when it looked,
// and Envoy asks for its own only seconds later.
const taker = "kube-apiserver "

// An Envoy that could not have its port is never called ready, although its admin interface is; the one line that the
// lab ends with names the port and what it is for.
func TestTakenPortOfAnEnvoyIsNamed(t *testing.T) {
	base := freeRun(t)
	cmd := exec.Command(harness.Binary("lab"), "up", "--dir", t.TempDir(), "--base-port", strconv.Itoa(base))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var failure strings.Builder
	cmd.Stderr = &failure
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	take(t, said, base, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	if err := cmd.Wait(); err == nil {
		t.Error("a lab without its proxy ended well")
	}
	if lines := strings.Split(strings.TrimSpace(failure.String()), "\n"); len(lines) != 1 || !names(lines[0], strconv.Itoa(base), "mesh-envoy", "HTTP proxy", "taken by another process") {
		t.Errorf("the lab ended with %q", lines)
	}
}

// take takes the port once the lab has begun, and reads what it says to its end; a lab that comes up nonetheless is
// ended.
func take(t *testing.T, said io.Reader, port int, end func()) {
	t.Helper()
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, taker):
			listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
			if err != nil {
				t.Errorf("port %d: %v", port, err)
				continue
			}
			t.Cleanup(func() { _ = listener.Close() })
		case strings.HasPrefix(line, "mesh-envoy "), strings.HasPrefix(line, "lab "):
			t.Errorf("the lab said %q", line)
			end()
		}
	}
}

func names(line string, what ...string) bool {
	for _, w := range what {
		if !strings.Contains(line, w) {
			return false
		}
	}
	return true
}

// freeRun is the first of 12 free ports on 127.0.0.1, below those that Linux gives to outgoing connections.
func freeRun(t *testing.T) int {
	t.Helper()
	for base := 21000; base < 32000; base += 12 {
		if free(base) {
			return base
		}
	}
	t.Fatal("no 12 ports in a row are free")
	return 0
}

func free(base int) bool {
	for port := base; port < base+12; port++ {
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return false
		}
		if err := listener.Close(); err != nil {
			return false
		}
	}
	return true
}
