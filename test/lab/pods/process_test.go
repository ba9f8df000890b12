package pods

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// childVariable makes the test binary play a container's process instead of running tests.
const childVariable = "LAB_TEST_CHILD"

func TestMain(m *testing.M) {
	if role := os.Getenv(childVariable); role != "" {
		os.Exit(playChild(role))
	}
	os.Exit(m.Run())
}

// playChild serves /readyz on the address in its environment until SIGTERM, which it may ignore.
func playChild(role string) int {
	fmt.Println("child", role, "home", os.Getenv("HOME"))
	if role == "exit-3" {
		return 3
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go func() {
		ready := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }
		fmt.Println(http.ListenAndServe(os.Getenv("LISTEN"), http.HandlerFunc(ready)))
	}()
	<-signals
	if role == "stubborn" {
		select {}
	}
	return 0
}

func startChild(t *testing.T, role string, probe bool) (*process, string, chan struct{}) {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	address := netip.MustParseAddr("127.251.0.8")
	port := freePort(t, address)
	container := &corev1.Container{Name: "manager", Ports: []corev1.ContainerPort{{Name: "health", ContainerPort: port}}}
	if probe {
		container.ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{
			HTTPGet: &corev1.HTTPGetAction{Path: "/readyz", Port: intstr.FromString("health")}}}
	}
	dir := t.TempDir()
	woken := make(chan struct{}, 8)
	p, err := startProcess(processSettings{
		container: container, binary: binary, workDir: dir, logFile: filepath.Join(dir, "log"), address: address,
		env:     map[string]string{childVariable: role, "LISTEN": net.JoinHostPort(address.String(), strconv.Itoa(int(port)))},
		spawner: newSpawner(), wake: func() { woken <- struct{}{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.kill()
		<-p.ended
	})
	return p, dir, woken
}

func await(t *testing.T, woken chan struct{}) {
	t.Helper()
	select {
	case <-woken:
	case <-time.After(10 * time.Second):
		t.Fatal("no wake-up within 10 s")
	}
}

func TestProcessBecomesReadyAndStops(t *testing.T) {
	p, dir, woken := startChild(t, "serve", true)
	if ready, _ := p.ready(time.Now()); ready {
		t.Error("ready before its probe succeeded")
	}
	await(t, woken)
	if ready, _ := p.ready(time.Now()); !ready {
		t.Error("not ready after its probe succeeded")
	}
	p.stop(10 * time.Second)
	await(t, woken)
	if code, over := p.exited(); !over || code != 0 {
		t.Errorf("exited %v with %d; want true with 0", over, code)
	}
	if log, err := os.ReadFile(filepath.Join(dir, "log")); err != nil || !strings.Contains(string(log), "child serve home "+dir) {
		t.Errorf("log %q, error %v", log, err)
	}
}

func TestProcessThatIgnoresSIGTERMIsKilled(t *testing.T) {
	p, _, woken := startChild(t, "stubborn", true)
	await(t, woken)
	p.stop(50 * time.Millisecond)
	await(t, woken)
	if code, over := p.exited(); !over || code != 137 {
		t.Errorf("exited %v with %d; want true with 137", over, code)
	}
}

func TestProcessExitCode(t *testing.T) {
	p, _, woken := startChild(t, "exit-3", false)
	if ready, _ := p.ready(time.Now()); !ready {
		t.Error("not ready although it has no probe")
	}
	await(t, woken)
	if code, over := p.exited(); !over || code != 3 {
		t.Errorf("exited %v with %d; want true with 3", over, code)
	}
}

func TestReadBinaryPath(t *testing.T) {
	dir := t.TempDir()
	if _, err := readBinaryPath(dir); err == nil || !strings.Contains(err.Error(), "lab grayscale") {
		t.Errorf("without a choice: %v", err)
	}
	file := filepath.Join(dir, "grayscale.path")
	if err := os.WriteFile(file, []byte("/nonexistent/grayscale\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readBinaryPath(dir); err == nil || !strings.Contains(err.Error(), "/nonexistent/grayscale") {
		t.Errorf("with a missing binary: %v", err)
	}
	if err := os.WriteFile(file, []byte(file+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if path, err := readBinaryPath(dir); err != nil || path != file {
		t.Errorf("path %q, error %v", path, err)
	}
}
