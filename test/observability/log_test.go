package observability

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"grayscale.dev/grayscale/test/harness"
)

// silence is longer than grayscale waits between any two writes (--settle is 2 s).
const silence = 3 * time.Second

// line is one of the log's.
type line struct {
	Level     string   `json:"level"`
	Message   string   `json:"msg"`
	Service   string   `json:"service"`
	Namespace string   `json:"namespace"`
	Did       []string `json:"did"`
	Why       any      `json:"why"`
	Before    string   `json:"before"`
	After     string   `json:"after"`
	Took      string   `json:"took"`
	Outcome   string   `json:"outcome"`
}

func (l line) why() []string {
	var out []string
	list, _ := l.Why.([]any)
	for _, one := range list {
		out = append(out, fmt.Sprint(one))
	}
	return out
}

// logged are the lines of all replicas about a namespace. Each line of the logs has to be JSON.
func logged(t *testing.T, namespace string) []line {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(harness.Lab().Dir, "logs", "grayscale-system_*.log"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no logs of grayscale: %v", err)
	}
	var out []line
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		whole := content[:strings.LastIndexByte(string(content), '\n')+1] // the last line may be in the making
		for text := range strings.Lines(string(whole)) {
			var l line
			if err := json.Unmarshal([]byte(text), &l); err != nil {
				t.Errorf("%s: %v: %s", filepath.Base(file), err, text)
			}
			if l.Namespace == namespace {
				out = append(out, l)
			}
		}
	}
	return out
}

// decided are the lines of decisions that changed something.
func decided(t *testing.T, namespace string) []line {
	t.Helper()
	return slices.DeleteFunc(logged(t, namespace), func(l line) bool { return l.Message != "decided" })
}

// Each write of the routes has its line, with the weights before and after and the client that set them. While nothing
// changes, nothing is logged.
func TestLogTellsEveryDecision(t *testing.T) {
	ns := shop(t)
	history := harness.Record(t, ns)
	canary(t, ns, 10)
	weigh(t, ns, 50)
	edit(t, ns)
	harness.Eventually(t, "every write of the routes has a line", func() error {
		// One write is kubectl-edit's.
		writes := history.Writes(func(w harness.Write) bool { return w.Kind == "virtualservices" })
		routed := slices.DeleteFunc(decided(t, ns), func(l line) bool { return l.After == "" })
		if len(routed) != len(writes)-1 || len(routed) < 4 {
			return fmt.Errorf("%d lines about %d writes", len(routed), len(writes))
		}
		return nil
	})
	lines := decided(t, ns)
	wanted := []struct{ before, after, why string }{
		{"none", "v1=100%", `Deployment web-v2: "grayscale.dev/weight" is "10", by "kubectl-create"`},
		{"v1=100%", "v1=90% v2=10%", "Deployment web-v2: 1 ready pods (were 0)"},
		{"v1=90% v2=10%", "v1=50% v2=50%", `Deployment web-v2: "grayscale.dev/weight" is "50" (was "10"), by "kubectl-annotate"`},
		{"v1=100%", "v1=50% v2=50%", "VirtualService edited or deleted by somebody else"},
	}
	for _, want := range wanted {
		if !slices.ContainsFunc(lines, func(l line) bool {
			return l.Service == ns+"/web" && l.Before == want.before && l.After == want.after && slices.Contains(l.why(), want.why) && l.Took != ""
		}) {
			t.Errorf("no line tells of %s to %s because %s, among %+v", want.before, want.after, want.why, lines)
		}
	}
	for _, l := range lines {
		if len(l.Did) == 0 || len(l.why()) == 0 || l.Level != "info" {
			t.Errorf("a line without deed or reason: %+v", l)
		}
	}
	silent(t, ns)
}

// silent waits until nothing has been logged for a while. It fails if grayscale keeps logging while nothing changes.
func silent(t *testing.T, ns string) {
	t.Helper()
	count, since := 0, time.Now()
	harness.Eventually(t, "nothing is logged any more", func() error {
		lines := logged(t, ns)
		if len(lines) != count {
			count, since = len(lines), time.Now()
		}
		if time.Since(since) < silence {
			return fmt.Errorf("the last of %d lines is %+v", count, lines[count-1])
		}
		return nil
	})
}

// The log quotes users' values: they cannot start a new line.
func TestLogQuotesWhatUsersWrite(t *testing.T) {
	ns := shop(t)
	forged := "1\n{\"level\":\"error\",\"msg\":\"forged\",\"namespace\":\"" + ns + "\"}"
	out, err := harness.TryKubectl(t, "", "annotate", "-n", ns, "deploy/web-v1", "grayscale.dev/strategy=canary", "grayscale.dev/weight="+forged)
	if err == nil {
		t.Fatalf("a wrong weight was taken: %s", out)
	}
	harness.Eventually(t, "a line tells of the refusal", func() error {
		lines := logged(t, ns)
		if !slices.ContainsFunc(lines, func(l line) bool {
			return l.Message == "answered at admission" && l.Outcome == "refused" && strings.Contains(fmt.Sprint(l.Why), `"1\n{`)
		}) {
			return fmt.Errorf("only %+v", lines)
		}
		return nil
	})
	for _, l := range logged(t, ns) {
		if l.Message == "forged" {
			t.Errorf("a user wrote a line: %+v", l)
		}
	}
}
