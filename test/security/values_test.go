package security

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/test/harness"
)

// hostile are values that try to break out of quotes, templates, logs and terminals, deceive readers, or are large.
var hostile = map[string]string{
	"NUL":               "1\x000",
	"newline":           "10\nlevel=error msg=\"all traffic moved\"",
	"carriage return":   "10\rweight 100",
	"escape sequence":   "\x1b[2J\x1b]0;owned\x07",
	"bidi override":     "\u202e001\u202c",
	"bidi isolate":      "\u2066v2\u2069",
	"zero width":        "c\u200banary",
	"byte order mark":   "\ufeff10",
	"line separator":    "10\u2028x",
	"Cyrillic":          "\u0441\u0430n\u0430r\u0443", // reads canary
	"fullwidth":         "\uff11\uff10",
	"Arabic digits":     "\u0661\u0660",
	"Go template":       "{{ .Release }}{{ range . }}",
	"shell":             "$(kubectl delete ns default)`id`",
	"JSON":              `"}],"weight":"100","x":[{"`,
	"YAML":              "10\n- grayscale.dev/weight: 100",
	"format":            "%s%n%!d(MISSING)%x",
	"CEL":               "[0,1,2,3].all(a, [0,1,2,3].all(b, [0,1,2,3].all(c, true)))",
	"path":              "../../kube-system/web",
	"host":              "web.kube-system.svc.cluster.local",
	"namespace":         "kube-system/web",
	"wildcard":          "*",
	"exponent":          "1e9999999999",
	"overflow":          strings.Repeat("9", 400),
	"200 KiB":           strings.Repeat("9", 200<<10),
	"200 KiB of bidi":   strings.Repeat("\u202e", 200<<10/3),
	"200 KiB of quotes": strings.Repeat(`"`, 200<<10),
}

// allowed are the hostile values that are valid names in Kubernetes. They only name something that does not exist.
var allowed = map[string][]string{
	"exponent": {intent.KeyService, intent.KeyStable, intent.KeyVersion},
	"host":     {intent.KeyStable, intent.KeyVersion},
}

// longest is how many bytes a message about any one value may have, including what is allowed and the fix.
const longest = 1024

// Every key of the table answers every hostile value with a short message that shows it in plain ASCII. Without an
// answer in time the API server would have admitted it.
func TestHostileValuesAreRefusedPlainly(t *testing.T) {
	ns := harness.Namespace(t)
	apply(t, ns, harness.Service("web"))
	tested := 0
	for _, key := range intent.Keys() {
		if key.Internal || key.Reserved {
			continue
		}
		for name, value := range hostile {
			if slices.Contains(allowed[name], key.Name) {
				continue
			}
			d := canary("web-v2", "10").Deployment()
			d.Annotations[intent.KeyStrategy] = string(key.Strategies[len(key.Strategies)-1]) // one that uses the key
			d.Annotations[key.Name] = value
			_, err := harness.Kube().AppsV1().Deployments(ns).Create(context.Background(), d, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			tested++
			if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), key.Name+": ") {
				t.Errorf("%s with %s: %v", key.Name, name, err)
				continue
			}
			plain(t, key.Name+" with "+name, strings.ReplaceAll(err.Error(), "\n", ""), 2*longest) // a line each for two keys at most
		}
	}
	if tested < 200 {
		t.Errorf("only %d values were tried", tested)
	}
}

// plain fails if a text could deceive a reader: it has bytes beyond printable ASCII, or is too long.
func plain(t *testing.T, what, text string, most int) {
	t.Helper()
	if len(text) > most {
		t.Errorf("%s: %d bytes, more than %d: %.200q", what, len(text), most, text)
	}
	for _, r := range text {
		if r < ' ' || r > '~' {
			t.Errorf("%s: %+q is in %+q", what, r, text)
			return
		}
	}
}

// warnings collects what kubectl would print.
type warnings struct {
	lock sync.Mutex
	all  []string
}

func (w *warnings) HandleWarningHeader(_ int, _ string, text string) {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.all = append(w.all, text)
}

// Unknown keys get a warning in the same plain form. The answer stays short, however many there are. The API server
// itself refuses a prefix that only looks like ours.
func TestHostileKeysAreWarnedOfPlainly(t *testing.T) {
	ns := harness.Namespace(t)
	apply(t, ns, harness.Service("web"))
	create := func(annotations map[string]string) ([]string, error) {
		heard := &warnings{}
		config := harness.Config()
		config.WarningHandler = heard
		d := canary("web-v2", "10").Deployment()
		maps.Copy(d.Annotations, annotations)
		_, err := kubernetes.NewForConfigOrDie(config).AppsV1().Deployments(ns).Create(context.Background(), d, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return heard.all, err
	}
	for name, value := range hostile {
		annotations := map[string]string{intent.Prefix + "wieght": value}
		if len(value) < 80<<10 { // the API server bounds all annotations together
			annotations[intent.Prefix+"match"], annotations[intent.Prefix+"hosts"] = value, value
		}
		said, err := create(annotations)
		if err != nil || !slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, "did you mean grayscale.dev/weight?") }) {
			t.Errorf("%s: %v, warned of %q", name, err, said)
		}
		for _, s := range said {
			plain(t, name, s, longest)
		}
	}
	many := map[string]string{}
	for n := range 8000 {
		many[fmt.Sprintf("%sk%d", intent.Prefix, n)] = "x"
	}
	said, err := create(many)
	if all := strings.Join(said, ""); err != nil || len(all) > 16<<10 || !strings.Contains(all, "grayscale.dev/k0") {
		t.Errorf("8000 unknown keys: %v, %d bytes of warnings: %.500s", err, len(all), all)
	}
	for _, key := range []string{"gr\u0430yscale.dev/weight", "grayscale.dev/we\u0456ght", "grayscale.dev/weight\u200b", "grayscale.dev/a\nb"} {
		if _, err := create(map[string]string{key: "100"}); !apierrors.IsInvalid(err) {
			t.Errorf("key %+q: %v", key, err)
		}
	}
}

// If hostile values are stored without the webhook, as in an exempt namespace, the controller reports them as plainly:
// in conditions, Events and logs. No route follows from them.
func TestHostileValuesAreToldPlainlyByTheController(t *testing.T) {
	const ns = "kube-system"
	ctx, api := context.Background(), harness.Kube().AppsV1().Deployments(ns)
	named := map[string]string{}
	for name, value := range hostile {
		app := "hostile-" + strings.ToLower(strings.ReplaceAll(name, " ", "-"))
		d := harness.App{Name: app, Annotations: map[string]string{intent.KeyStrategy: "canary", intent.KeyWeight: value, intent.Prefix + "wieght": value}}.Deployment()
		d.Spec.Replicas = ptr.To[int32](0)
		if len(value) > 100<<10 { // the API server bounds all annotations together
			delete(d.Annotations, intent.Prefix+"wieght")
		}
		if _, err := api.Create(ctx, d, metav1.CreateOptions{}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Cleanup(func() {
			if err := api.Delete(ctx, app, metav1.DeleteOptions{}); err != nil {
				t.Error(err)
			}
		})
		named[app] = name
	}
	for app, name := range named {
		harness.WaitCondition(t, ns, app, intent.ConditionAccepted, "False", intent.KeyWeight)
		d, err := api.Get(ctx, app, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range d.Status.Conditions {
			if strings.HasPrefix(string(c.Type), intent.Prefix) {
				plain(t, fmt.Sprintf("condition %s about %s", c.Type, name), c.Message, 2*longest)
			}
		}
		toldPlainly(t, d)
	}
	if left := routes(t, ns); left != "null\n" {
		t.Errorf("there are routes: %s", left)
	}
}

func toldPlainly(t *testing.T, d *appsv1.Deployment) {
	t.Helper()
	harness.WaitEvent(t, d.Namespace, d.Name, "InvalidValue", intent.KeyWeight)
	events, err := harness.Kube().CoreV1().Events(d.Namespace).List(context.Background(), metav1.ListOptions{FieldSelector: "involvedObject.name=" + d.Name})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events.Items {
		plain(t, "Event on "+d.Name, e.Message, longest)
	}
}

// Every line that grayscale logged during the earlier tests is plain ASCII and short enough to read. This file is the
// last of the package by name, so this test runs last.
func TestLogsArePlain(t *testing.T) {
	logs, err := filepath.Glob(filepath.Join(harness.Lab().Dir, "logs", "grayscale-system_*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("no logs of grayscale: %v", err)
	}
	lines, secrets := 0, paths(t)
	for _, path := range logs {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(content)) {
			lines++
			plain(t, filepath.Base(path), strings.TrimSuffix(line, "\n"), 16<<10)
			for _, secret := range secrets {
				if strings.Contains(line, secret) {
					t.Errorf("%s tells the webhook's path: %s", filepath.Base(path), line)
				}
			}
		}
	}
	if lines < 10 {
		t.Errorf("the logs have %d lines", lines)
	}
	lean(t)
}
