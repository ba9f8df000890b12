package observability

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/test/harness"
	"grayscale.dev/grayscale/test/monitoring"
)

var command = regexp.MustCompile(`(?m)^\$ (.+)$`)

// Every command of the runbook, and of the page on metrics, works on a real API server: a person on call copies it as
// it is.
func TestRunbookCommandsRun(t *testing.T) {
	ns := reviews(t)
	path := kubectlOnly(t)
	commands := command.FindAllStringSubmatch(monitoring.Read(t, "docs", "metrics.md")+monitoring.Read(t, "docs", "runbook.md"), -1)
	if len(commands) < 30 {
		t.Fatalf("the runbook has %d commands", len(commands))
	}
	done := map[string]bool{}
	for _, found := range commands {
		text := found[1]
		if done[text] {
			continue
		}
		done[text] = true
		out, err := shell(path, strings.ReplaceAll(text, "-n shop ", "-n "+ns+" "))
		if err != nil {
			t.Errorf("%s: %v\n%s", text, err, out)
		}
		if strings.Contains(text, "auth can-i") && strings.TrimSpace(out) != "yes" {
			t.Errorf("%s: %s, want yes", text, out)
		}
		if strings.Contains(text, "jsonpath") && strings.TrimSpace(strings.Trim(out, ": \n")) == "" {
			t.Errorf("%s: prints nothing", text)
		}
		t.Logf("$ %s\n%.600s", text, out)
	}
	harness.WaitProgrammed(t, ns, "reviews-v2", "canary 0% of reviews") // as the last of them asks for
	harness.Leader(t)
}

// reviews creates the objects of the runbook's examples.
func reviews(t *testing.T) string {
	t.Helper()
	ns := harness.Namespace(t)
	if _, err := harness.Kube().CoreV1().Services(ns).Create(ctx, harness.Service("reviews"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	canary := map[string]string{"grayscale.dev/strategy": "canary", "grayscale.dev/weight": "10"}
	for _, app := range []harness.App{
		{Name: "reviews-v1", Label: "reviews"},
		{Name: "reviews-v2", Label: "reviews", Annotations: canary},
		{Name: "ratings-v2", Annotations: canary}, // no Service selects it: it is the one that is not accepted
	} {
		if _, err := harness.Kube().AppsV1().Deployments(ns).Create(ctx, app.Deployment(), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	harness.WaitProgrammed(t, ns, "reviews-v2", "canary 10% of reviews")
	harness.WaitCondition(t, ns, "ratings-v2", "grayscale.dev/Accepted", "False", "")
	return ns
}

// kubectlOnly is a PATH that begins with a kubectl for the lab. The lab has no kubelet that serves logs: the script
// reads them from the lab's files.
func kubectlOnly(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	kubectl, err := filepath.Abs(filepath.Join(monitoring.Root(), "bin", "kubectl"))
	if err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf(`#!/bin/sh
case " $* " in
*" logs "*) exec cat %[2]s/logs/grayscale-system_*.log ;;
esac
export KUBECONFIG=%[2]s/kubeconfig HOME=%[2]s
exec %[1]s "$@"
`, kubectl, harness.Lab().Dir)
	if err := os.WriteFile(filepath.Join(dir, "kubectl"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir + ":" + os.Getenv("PATH")
}

// shell runs a command. It accepts a grep that finds nothing, and skips openssl, because not every machine has it.
func shell(path, text string) (string, error) {
	text, _, _ = strings.Cut(text, " | openssl")
	cmd := exec.Command("bash", "-o", "pipefail", "-c", text)
	cmd.Env = append(os.Environ(), "PATH="+path)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 && strings.Contains(text, " | grep ") && len(out) == 0 {
		return "", nil
	}
	return string(out), err
}
