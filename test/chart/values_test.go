package chart

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"grayscale.dev/grayscale/test/access"
	"grayscale.dev/grayscale/test/harness"
)

// Every value is in values.yaml with a comment, in the schema, and in docs/install.md with its default.
func TestEveryValueIsDocumented(t *testing.T) {
	text := read(t, filepath.Join(chart, "values.yaml"))
	var values map[string]any
	if err := yaml.UnmarshalStrict([]byte(text), &values); err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal([]byte(read(t, filepath.Join(chart, "values.schema.json"))), &schema); err != nil {
		t.Fatal(err)
	}
	given, allowed := leaves(values, ""), properties(schema, "")
	for _, value := range given {
		if !slices.ContainsFunc(allowed, func(a string) bool { return a == value || strings.HasPrefix(value, a+".") }) {
			t.Errorf("value %s is not in the schema", value)
		}
	}
	page := read(t, filepath.Join(root, "docs", "install.md"))
	for _, value := range allowed {
		switch {
		case value == "global" || value == "resources.claims": // Helm's, and Kubernetes' own
		case !slices.ContainsFunc(given, func(g string) bool { return g == value || strings.HasPrefix(g, value+".") }):
			t.Errorf("%s is in the schema, but values.yaml has no default of it", value)
		case !strings.Contains(page, "| `"+value+"` |"):
			t.Errorf("docs/install.md has no line on %s", value)
		}
	}
	uncommented(t, text)
}

// uncommented fails the test for a value that has no comment: above it, above the first of those that belong together,
// or above its section.
func uncommented(t *testing.T, text string) {
	t.Helper()
	told := map[string]bool{} // by indentation: whether a comment has been given for the values that follow
	for line := range strings.Lines(text) {
		word := strings.TrimSpace(line)
		indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
		switch {
		case word == "":
			told = map[string]bool{}
		case strings.HasPrefix(word, "#"):
			told[indent] = true
		case !strings.HasSuffix(word, ":") && !slices.ContainsFunc(slices.Collect(maps.Keys(told)), func(above string) bool { return strings.HasPrefix(indent, above) }):
			t.Errorf("values.yaml: nothing tells what this is: %s", word)
		}
	}
}

// leaves are the paths of all values that are no sections.
func leaves(values map[string]any, above string) []string {
	var out []string
	for name, value := range values {
		if section, ok := value.(map[string]any); ok && len(section) > 0 {
			out = append(out, leaves(section, above+name+".")...)
			continue
		}
		out = append(out, above+name)
	}
	return out
}

// properties are leaves of a schema.
func properties(schema map[string]any, above string) []string {
	all, _ := schema["properties"].(map[string]any)
	var out []string
	for name, property := range all {
		inner, _ := property.(map[string]any)
		if deeper := properties(inner, above+name+"."); len(deeper) > 0 {
			out = append(out, deeper...)
			continue
		}
		out = append(out, above+name)
	}
	return out
}

// What is misspelt, or could never work, is refused before anything is installed.
func TestWrongValuesAreRefused(t *testing.T) {
	for set, says := range map[string]string{
		"webhok.failurePolicy=Fail":                                 "webhok",
		"webhook.failurePolicy=Maybe":                               "/webhook/failurePolicy",
		"webhook.timeoutSeconds=31":                                 "/webhook/timeoutSeconds",
		"namespaces={a b}":                                          "/namespaces",
		"shutdownDelaySeconds=61":                                   "/shutdownDelaySeconds",
		"replicas=-1":                                               "/replicas",
		"settings.settle=2":                                         "/settings/settle",
		"settings.pprofPort=-1":                                     "/settings/pprofPort",
		"metrics.prometheusRule.certificateDays=0":                  "/metrics/prometheusRule/certificateDays",
		"metrics.prometheusRule.runbook=":                           "/metrics/prometheusRule/runbook",
		"image.digest=sha256:1":                                     "/image/digest",
		"podLabels.app\\.kubernetes\\.io/name=other":                "app.kubernetes.io/name",
		"podDisruptionBudget.maxUnavailable=0":                      "/podDisruptionBudget/maxUnavailable",
		"networkPolicy.apiServerCIDRs={10.0.0.1}":                   "/networkPolicy/apiServerCIDRs",
		"metrics.enabled=false,metrics.serviceMonitor.enabled=true": "nothing to scrape",
		"serviceAccount.name=a'b":                                   "/serviceAccount/name",
		"podAnnotations.sidecar\\.istio\\.io/inject=true":           "sidecar.istio.io/inject",
		"topologySpreadConstraints[0].topologyKey=zone":             "/topologySpreadConstraints",
		"imagePullSecrets[0].nam=x":                                 "/imagePullSecrets",
		"webhook.exemptNamespaces={a b}":                            "/webhook/exemptNamespaces",
		"networkPolicy.metricsFrom[0].namespace=monitoring":         "/networkPolicy/metricsFrom",
		"webhook.certificate.mode=magic":                            "/webhook/certificate/mode",
		"webhook.certificate.mode=mounted":                          "needs webhook.certificate.secretName",
		"webhook.certificate.lifetime=30m":                          "/webhook/certificate/lifetime",
		"webhook.certificate.caBundle=none":                         "/webhook/certificate/caBundle",
		"settings.rootNamespace=Istio":                              "/settings/rootNamespace",
		"settings.clusterDomain=" + strings.Repeat("a", 254):        "/settings/clusterDomain",
	} {
		out, err := harness.TryHelm(t, "template", "grayscale", chart, "--set", set)
		if err == nil || !strings.Contains(out, says) {
			t.Errorf("--set %s is not refused with %q: %v %s", set, says, err, out[:min(len(out), 500)])
		}
	}
}

// Profiles are served only where they are asked for.
func TestProfilesAreAskedFor(t *testing.T) {
	for set, want := range map[string]bool{"settings.pprofPort=0": false, "settings.pprofPort=6060": true} {
		out := harness.Helm(t, "template", "grayscale", chart, "--show-only", "templates/deployment.yaml", "--set", set)
		if strings.Contains(out, "- --pprof-port=6060\n") != want {
			t.Errorf("--set %s: served is not %t:\n%s", set, want, out)
		}
	}
}

// Confined to namespaces, grayscale has in each of them what it has in the whole cluster otherwise, and there nothing
// but its webhook configurations.
func TestConfinedRights(t *testing.T) {
	rights := func(args ...string) map[string]bool {
		all, err := access.Rights([]byte(harness.Helm(t, append([]string{"template", "grayscale", chart, "-n", "grayscale-system"}, args...)...)))
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]bool{}
		for _, r := range all {
			out[r.Namespace+" "+r.Verb+" "+r.Object()] = true
		}
		return out
	}
	want := map[string]bool{}
	for right := range rights() {
		switch {
		case strings.Contains(right, "customresourcedefinitions"):
		case strings.HasPrefix(right, "grayscale-system ") || strings.Contains(right, "webhookconfigurations"):
			want[right] = true
		default:
			want["team-a"+right], want["team-b"+right] = true, true
		}
	}
	if diff := cmp.Diff(want, rights("-f", filepath.Join(chart, "ci", "namespaced-values.yaml"))); diff != "" {
		t.Errorf("the rights (-wanted +given):\n%s", diff)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
