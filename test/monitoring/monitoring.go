// Package monitoring reads the alerts of the chart, its Grafana dashboard, and docs/metrics.md. Its tests evaluate the
// alerts with Prometheus's own promtool. test/observability checks all of it against the real binary.
package monitoring

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// Alert is one rule of the chart's PrometheusRule.
type Alert struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// Group is what a rule file of Prometheus's has.
type Group struct {
	Name  string  `json:"name"`
	Rules []Alert `json:"rules"`
}

// Panel is one panel of the dashboard.
type Panel struct {
	ID      int    `json:"id"`
	Type    string `json:"type"`
	Title   string `json:"title"`
	GridPos struct{ H, W, X, Y int }
	Targets []struct {
		RefID string `json:"refId"`
		Expr  string `json:"expr"`
	} `json:"targets"`
}

// Selector is a selector of an expression: a metric, the labels that it has to have, and those that the result is
// grouped by.
type Selector struct {
	Metric   string `json:"metric"`
	Matchers []struct {
		Name  string `json:"name"`
		Op    string `json:"op"`
		Value string `json:"value"`
	} `json:"matchers"`
	By []string `json:"by"`
}

// Metric is one row of docs/metrics.md.
type Metric struct {
	Name, Type string
	// Labels are its labels with all values that they can have; nil where others choose them.
	Labels map[string][]string
}

// Root is the repository's.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Tool is the path of one of the pinned tools; the test fails if it has not been built.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(Root(), ".tools", "bin", name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s is missing: make test-unit builds it", path)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Read is a file of the repository.
func Read(t testing.TB, path ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(append([]string{Root()}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// Alerts are those that the chart renders, with values as for helm --set.
func Alerts(t testing.TB, values ...string) []Group {
	t.Helper()
	args := []string{"template", "grayscale", filepath.Join(Root(), "manifests", "chart"), "--show-only", "templates/monitoring.yaml",
		"--set", "metrics.prometheusRule.enabled=true"}
	for _, v := range values {
		args = append(args, "--set", v)
	}
	out, err := exec.Command(Tool(t, "helm"), args...).Output()
	if err != nil {
		t.Fatalf("helm %s: %v", strings.Join(args, " "), err)
	}
	var rule struct {
		Kind string `json:"kind"`
		Spec struct {
			Groups []Group `json:"groups"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(out, &rule); err != nil || rule.Kind != "PrometheusRule" || len(rule.Spec.Groups) == 0 {
		t.Fatalf("not a PrometheusRule: %v\n%s", err, out)
	}
	return rule.Spec.Groups
}

// Dashboard is the chart's.
func Dashboard(t testing.TB) []Panel {
	t.Helper()
	var d struct {
		Panels []Panel `json:"panels"`
	}
	if err := json.Unmarshal([]byte(Read(t, "manifests", "chart", "dashboards", "grayscale.json")), &d); err != nil {
		t.Fatal(err)
	}
	return d.Panels
}

// variables are what Grafana puts in place of its variables.
var variables = strings.NewReplacer("$__rate_interval", "5m", "$job", "grayscale-metrics")

// Expressions are all of the alerts' and the dashboard's, by where they are.
func Expressions(t testing.TB) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, g := range Alerts(t) {
		for _, r := range g.Rules {
			out["alert "+r.Alert] = r.Expr
		}
	}
	for _, p := range Dashboard(t) {
		for _, target := range p.Targets {
			out[fmt.Sprintf("panel %s, query %s", p.Title, target.RefID)] = variables.Replace(target.Expr)
		}
	}
	return out
}

// Selectors parses expressions with Prometheus's own parser and gives what each asks for.
func Selectors(t testing.TB, expressions map[string]string) map[string][]Selector {
	t.Helper()
	var names, list []string
	for name, e := range expressions {
		names, list = append(names, name), append(list, e)
	}
	in, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(Tool(t, "selectors"))
	var failed bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &failed
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("selectors: %v: %s", err, failed.String())
	}
	var found [][]Selector
	if err := json.Unmarshal(out, &found); err != nil || len(found) != len(names) {
		t.Fatalf("selectors: %d answers to %d expressions: %v", len(found), len(names), err)
	}
	all := map[string][]Selector{}
	for i, name := range names {
		all[name] = found[i]
	}
	return all
}

var (
	row   = regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (\\w+) \\| (.*?) \\| .* \\|$")
	label = regexp.MustCompile("`([a-z_]+)`(?:: ([^;]+))?")
)

// Documented are the metrics that docs/metrics.md lists, by name.
func Documented(t testing.TB) map[string]Metric {
	t.Helper()
	out := map[string]Metric{}
	for _, found := range row.FindAllStringSubmatch(Read(t, "docs", "metrics.md"), -1) {
		m := Metric{Name: found[1], Type: found[2], Labels: map[string][]string{}}
		for _, l := range label.FindAllStringSubmatch(found[3], -1) {
			m.Labels[l[1]] = nil
			if l[2] != "" {
				m.Labels[l[1]] = strings.Split(l[2], ", ")
			}
		}
		out[m.Name] = m
	}
	if len(out) == 0 {
		t.Fatal("docs/metrics.md lists no metrics")
	}
	return out
}

// Family is the metric that a series belongs to: expressions use the names of a histogram's series.
func Family(series string, known map[string]Metric) (Metric, bool) {
	for _, suffix := range []string{"", "_bucket", "_sum", "_count"} {
		name, ok := strings.CutSuffix(series, suffix)
		if m, found := known[name]; ok && found && (suffix == "" || m.Type == "histogram") {
			return m, true
		}
	}
	return Metric{}, false
}

// OfTheScrape reports whether Prometheus, not grayscale, puts the label on a series.
func OfTheScrape(label string) bool {
	return label == "job" || label == "pod" || label == "namespace" || label == "instance"
}
