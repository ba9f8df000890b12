package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// logLines is how many lines of each log a failure shows. lineLength is how many bytes of each line.
const (
	logLines   = 30
	lineLength = 500
)

// showNamespace logs the objects of a failed test before they are deleted.
func showNamespace(t testing.TB, namespace string) {
	for _, args := range [][]string{
		{"get", "deployments,replicasets,pods,services,endpointslices", "-o", "wide", "--show-labels"},
		{"get", "deployments,virtualservices,destinationrules", "-o", "yaml"},
		{"get", "events", "--sort-by=.metadata.creationTimestamp"},
	} {
		out, err := TryKubectl(t, "", append(args, "-n", namespace)...)
		t.Logf("kubectl %s -n %s (%v)\n%s", strings.Join(args, " "), namespace, err, out)
	}
	for _, log := range append(logs("grayscale-system_*.log"), logs("mesh-envoy.log")...) {
		t.Logf("%s, about this namespace:\n%s", filepath.Base(log), tail(log, namespace))
	}
}

// showComponents prints the end of every component's log, for failures outside a single test.
func (l *lab) showComponents() {
	running = l
	for _, log := range append(logs("*.log"), filepath.Join(l.Dir, "up.log")) {
		fmt.Fprintf(os.Stderr, "--- %s\n%s\n", filepath.Base(log), tail(log, ""))
	}
}

func logs(pattern string) []string {
	found, err := filepath.Glob(filepath.Join(current().Dir, "logs", pattern))
	if err != nil {
		panic(err) // the pattern in this file is wrong
	}
	return found
}

// tail is the last lines of a file that contain a text.
func tail(file, text string) string {
	content, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	var kept []string
	for line := range strings.Lines(string(content)) {
		if strings.Contains(line, text) && !strings.Contains(line, `"response_code":200`) { // Envoy's access log is full of those
			kept = append(kept, line[:min(len(line)-1, lineLength)]+"\n")
		}
	}
	return strings.Join(kept[max(0, len(kept)-logLines):], "")
}
