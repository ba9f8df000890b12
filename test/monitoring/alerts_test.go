package monitoring

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// rendered puts the chart's alerts, and the cases, where promtool reads them.
func rendered(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	file, err := yaml.Marshal(map[string]any{"groups": Alerts(t)})
	if err != nil {
		t.Fatal(err)
	}
	cases, err := os.ReadFile(filepath.Join("testdata", "alerts.test.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"rules.yaml": file, "alerts.test.yaml": cases} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func promtool(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command(Tool(t, "promtool"), args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// Prometheus itself evaluates each alert over the series of testdata/alerts.test.yaml.
func TestAlertsFireAndStayQuiet(t *testing.T) {
	dir := rendered(t)
	promtool(t, dir, "check", "rules", "--lint=all", "--lint-fatal", "rules.yaml")
	promtool(t, dir, "test", "rules", "alerts.test.yaml")
}

var firing = regexp.MustCompile(`ALERTS\{alertname="(\w+)", ?alertstate="firing"`)

// Each alert fires in a case, and stays quiet in the healthy case, which checks all alerts.
func TestEveryAlertHasCases(t *testing.T) {
	var cases struct {
		Tests []struct {
			Name    string `json:"name"`
			Queries []struct {
				Expr    string           `json:"expr"`
				Samples []map[string]any `json:"exp_samples"`
			} `json:"promql_expr_test"`
		} `json:"tests"`
	}
	if err := yaml.Unmarshal([]byte(Read(t, "test", "monitoring", "testdata", "alerts.test.yaml")), &cases); err != nil {
		t.Fatal(err)
	}
	seen, quiet := map[string]bool{}, false
	for _, c := range cases.Tests {
		for _, q := range c.Queries {
			quiet = quiet || q.Expr == "ALERTS" && len(q.Samples) == 0
			for _, s := range q.Samples {
				for _, found := range firing.FindAllStringSubmatch(s["labels"].(string), -1) {
					seen[found[1]] = true
				}
			}
		}
	}
	if !quiet {
		t.Error("no case wants all alerts to be quiet")
	}
	for _, a := range Alerts(t)[0].Rules {
		if !seen[a.Alert] {
			t.Errorf("no case sees %s firing", a.Alert)
		}
		delete(seen, a.Alert)
	}
	for name := range seen {
		t.Errorf("%s is no alert of the chart's", name)
	}
}

// Each alert links to its own section of the runbook, which has the four parts.
func TestEveryAlertHasARunbookSection(t *testing.T) {
	sections := map[string]string{}
	for _, s := range strings.Split(Read(t, "docs", "runbook.md"), "\n## ")[1:] {
		title, text, _ := strings.Cut(s, "\n")
		sections[title] = text
	}
	for _, a := range Alerts(t, "metrics.prometheusRule.runbook=https://wiki.example.com/r")[0].Rules {
		if want := "https://wiki.example.com/r#" + strings.ToLower(a.Alert); a.Annotations["runbook_url"] != want {
			t.Errorf("%s leads to %s, want %s", a.Alert, a.Annotations["runbook_url"], want)
		}
		for _, part := range []string{"**Means.**", "**Users feel.**", "**Look.**", "**Mend.**", "```console"} {
			if !strings.Contains(sections[a.Alert], part) {
				t.Errorf("docs/runbook.md, section %s, lacks %s", a.Alert, part)
			}
		}
		if a.Annotations["summary"] == "" || a.Annotations["description"] == "" || a.Labels["severity"] == "" {
			t.Errorf("%s does not say what has happened, or how bad it is: %v", a.Alert, a)
		}
		delete(sections, a.Alert)
	}
	for title := range sections {
		if strings.HasPrefix(title, "Grayscale") {
			t.Errorf("docs/runbook.md has a section for %s, which is no alert", title)
		}
	}
}
