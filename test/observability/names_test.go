package observability

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/test/harness"
	"grayscale.dev/grayscale/test/monitoring"
)

// families are the metrics of a scrape, by name.
type families map[string]*dto.MetricFamily

func parsed(t *testing.T, text string) families {
	t.Helper()
	p := expfmt.NewTextParser(model.UTF8Validation)
	found, err := p.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// scraped is what grayscale's replicas and the API server answer, together.
func scraped(t *testing.T) families {
	t.Helper()
	all := families{}
	add := func(text string) {
		for name, f := range parsed(t, text) {
			if all[name] == nil {
				all[name] = f
				continue
			}
			all[name].Metric = append(all[name].Metric, f.Metric...)
		}
	}
	for _, r := range harness.Replicas(t) {
		text, err := r.Scrape()
		if err != nil {
			t.Fatal(err)
		}
		add(text)
	}
	ofAPIServer, err := harness.Kube().CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range parsed(t, string(ofAPIServer)) {
		if strings.HasPrefix(name, "apiserver_admission_webhook_") {
			all[name] = f
		}
	}
	return all
}

// incidents causes the events that create some series: a refusal, and a webhook that cannot be called.
func incidents(t *testing.T) {
	t.Helper()
	ns := shop(t)
	canary(t, ns, 10)
	if out, err := harness.TryKubectl(t, "", "annotate", "--overwrite", "-n", ns, "deploy/web-v2", "grayscale.dev/weight=150"); err == nil {
		t.Fatalf("a wrong weight was taken: %s", out)
	}
	var processes []int
	for _, r := range harness.Replicas(t) {
		processes = append(processes, r.PID)
	}
	thaw := harness.Freeze(t, processes...)
	d := harness.App{Name: "unasked", Annotations: map[string]string{"grayscale.dev/strategy": "canary"}}.Deployment()
	_, err := harness.Kube().AppsV1().Deployments(ns).Create(ctx, d, metav1.CreateOptions{})
	thaw()
	if err != nil {
		t.Fatal(err)
	}
	harness.Leader(t) // the one that was stopped, or another
}

// The real binary and the real API server have every metric that docs/metrics.md lists, with its type and labels, and
// every series that an alert or a panel asks for.
func TestWhatIsListedAndAskedForIsThere(t *testing.T) {
	incidents(t)
	all, known := scraped(t), monitoring.Documented(t)
	for name, m := range known {
		f := all[name]
		if f == nil {
			t.Errorf("docs/metrics.md lists %s, which is not there", name)
			continue
		}
		if got := strings.ToLower(f.GetType().String()); got != m.Type {
			t.Errorf("%s is a %s, docs/metrics.md says %s", name, got, m.Type)
		}
		for _, problem := range labelling(f, m) {
			t.Errorf("%s %s", name, problem)
		}
	}
	for name := range all {
		if _, listed := known[name]; strings.HasPrefix(name, "grayscale_") && !listed {
			t.Errorf("docs/metrics.md lacks %s", name)
		}
	}
	for where, selectors := range monitoring.Selectors(t, monitoring.Expressions(t)) {
		for _, s := range selectors {
			m, ok := monitoring.Family(s.Metric, known)
			if !ok || all[m.Name] == nil {
				t.Errorf("%s asks for %s, which is not there", where, s.Metric)
				continue
			}
			if !slices.ContainsFunc(all[m.Name].Metric, func(series *dto.Metric) bool { return answers(series, s, m) }) {
				t.Errorf("%s: no series of %s has the labels that it asks for: %+v", where, s.Metric, s)
			}
		}
	}
}

// labelling lists a metric's labels that differ from the documented ones. It compares only values of grayscale's own
// labels.
func labelling(f *dto.MetricFamily, m monitoring.Metric) []string {
	var out []string
	for _, series := range f.Metric {
		has := labels(series)
		for name, values := range m.Labels {
			value, ok := has[name]
			if !ok {
				out = append(out, "has no label "+name)
			} else if values != nil && !slices.Contains(values, value) {
				out = append(out, fmt.Sprintf("has %s=%q, which is not listed", name, value))
			}
		}
		for name := range has {
			if _, listed := m.Labels[name]; !listed && strings.HasPrefix(m.Name, "grayscale_") {
				out = append(out, "has a label "+name+", which is not listed")
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func labels(series *dto.Metric) map[string]string {
	out := map[string]string{}
	for _, l := range series.Label {
		out[l.GetName()] = l.GetValue()
	}
	return out
}

// answers reports whether the selector can find the series in production. For a regular expression over a code, which
// only an incident produces, only the label has to exist.
func answers(series *dto.Metric, s monitoring.Selector, m monitoring.Metric) bool {
	has := labels(series)
	there := func(label string) bool {
		_, ok := has[label]
		return ok || monitoring.OfTheScrape(label) || label == "le" && m.Type == "histogram"
	}
	for _, label := range s.By {
		if !there(label) {
			return false
		}
	}
	for _, want := range s.Matchers {
		value := has[want.Name]
		switch {
		case !there(want.Name):
			return false
		case monitoring.OfTheScrape(want.Name):
		case want.Op == "=" && value != want.Value:
			return false
		case want.Op == "=~" && want.Name != "code" && !regexp.MustCompile("^(?:"+want.Value+")$").MatchString(value):
			return false
		}
	}
	return true
}
