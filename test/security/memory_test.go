package security

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

// memoryLimit is the chart's default, resources.limits.memory: above it the kernel would have ended the replica.
const memoryLimit = 256 << 20

// lean fails if a replica has ever used more memory than its limit.
func lean(t *testing.T) {
	t.Helper()
	for _, replica := range harness.Replicas(t) {
		peak := peak(t, replica.PID)
		t.Logf("%s has used at most %d MiB", replica.Pod, peak>>20)
		if peak >= memoryLimit {
			t.Errorf("%s has used %d bytes of memory, its limit is %d", replica.Pod, peak, memoryLimit)
		}
	}
}

// peak is the most memory that a process has had resident, in bytes (VmHWM in proc_pid_status(5)).
func peak(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var kilobytes int
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kilobytes); n == 1 {
			return kilobytes << 10
		}
	}
	t.Fatalf("no VmHWM in %s", status)
	return 0
}
