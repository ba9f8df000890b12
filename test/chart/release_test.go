package chart

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"grayscale.dev/grayscale/test/access"
	"grayscale.dev/grayscale/test/harness"
)

// installation is one release of the chart: Helm's own word for what is installed under a name.
type installation struct {
	t         *testing.T
	namespace string
	values    string   // a file
	confined  []string // the only namespaces with releases; empty for all
	more      []string // arguments that the file asks to be given when installing
	earlier   []string // logs of those that were in the namespace before
	before    []access.Request
}

// namespaces other than the usual one, by the values file: the chart has to follow the release's, and no file waits
// until the namespace of the one before is gone.
var namespaces = map[string]string{"cert-manager-values.yaml": "with-cert-manager", "failure-policy-fail-values.yaml": "strict-tools",
	"ha-values.yaml": "release-tools", "mounted-values.yaml": "own-certificates", "namespaced-values.yaml": "confined-tools",
	"restricted-network-values.yaml": "locked-down"}

// prepare does what a values file expects of others.
var prepare = map[string]func(*installation){
	"cert-manager-values.yaml": func(i *installation) { harness.CertManager(i.t) },
	"monitoring-values.yaml":   func(i *installation) { prometheusOperator(i.t) },
	"mounted-values.yaml":      (*installation).mount,
}

// upgraded are the values files that are upgraded and rolled back as well: one replica, several, and confined to
// namespaces. What the others add (certificates, network, monitoring, failurePolicy) is the same before and after an
// upgrade.
var upgraded = []string{"default-values.yaml", "ha-values.yaml", "namespaced-values.yaml"}

// Each values file: checked, installed, used, some upgraded and rolled back, and uninstalled, with requests under way
// all the time. The test is not parallel: grayscale is everybody's.
func TestEveryValuesFile(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(chart, "ci", "*-values.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no values files: %v", err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(strings.TrimSuffix(name, "-values.yaml"), func(t *testing.T) {
			i := &installation{t: t, namespace: "grayscale-system", values: file}
			if other := namespaces[name]; other != "" {
				i.namespace = other
			}
			i.confined = confined(t, file)
			i.makeNamespace()
			if prepared := prepare[name]; prepared != nil {
				prepared(i)
			}
			i.play()
		})
	}
}

func (i *installation) play() {
	t := i.t
	for _, name := range i.confined {
		harness.NamedNamespace(t, name)
	}
	i.check()
	i.install()

	web, waiting := i.shops()
	web.Apply(web.deployment("web-v2", "strategy: canary", `weight: "20"`))
	web.programmed("canary 20% of web")
	web.served(80, 20)
	waiting.Apply(waiting.deployment("web-v2", "strategy: canary", "stable: nobody"))
	harness.WaitCondition(t, waiting.NS, "web-v2", "grayscale.dev/Accepted", "False", "nobody")
	if strings.Contains(filepath.Base(i.values), "monitoring") {
		alertsHaveMetrics(t)
	}
	if len(i.confined) > 0 {
		elsewhere(t)
	}

	if slices.Contains(upgraded, filepath.Base(i.values)) {
		i.upgrade(web)
	}
	web.weigh("30")
	web.served(70, 30)
	i.rightsSuffice()

	harness.Helm(t, "uninstall", "grayscale", "-n", i.namespace, "--wait")
	i.nothingLeft()
	for _, s := range []shop{web, waiting} {
		for _, name := range []string{"web-v1", "web-v2"} {
			harness.WaitReady(t, s.NS, name) // which a paused one is not
		}
	}
	web.served(70, 30)
}

// upgrade changes a value and takes that back, in the middle of a release.
func (i *installation) upgrade(web shop) {
	i.t.Helper()
	harness.Helm(i.t, "upgrade", "grayscale", chart, "-n", i.namespace, "--reset-then-reuse-values", "--set", "settings.settle=2500ms", "--wait")
	i.answers()
	web.weigh("50")
	web.served(50, 50)
	harness.Helm(i.t, "rollback", "grayscale", "1", "-n", i.namespace, "--wait")
	i.answers()
}

// confined is the value namespaces of a values file.
func confined(t *testing.T, file string) []string {
	t.Helper()
	var values struct {
		Namespaces []string `json:"namespaces"`
	}
	if err := yaml.Unmarshal([]byte(read(t, file)), &values); err != nil {
		t.Fatal(err)
	}
	return values.Namespaces
}

// shops are one with a release and one whose candidate waits for a stable that never comes, so that it is held for
// good.
func (i *installation) shops() (web, waiting shop) {
	i.t.Helper()
	if len(i.confined) > 0 {
		return openIn(i.t, i.confined[0]), openIn(i.t, i.confined[1])
	}
	return open(i.t), open(i.t)
}

// elsewhere fails the test where grayscale does anything about a release in a namespace that it is not to look at:
// nobody is asked about a wrong annotation, nothing is labelled, held or routed, and Kubernetes shares the requests by
// pods.
func elsewhere(t *testing.T) {
	t.Helper()
	s := open(t)
	s.Apply(s.deployment("web-v2", "strategy: canary", `weight: "150"`))
	d := harness.WaitReady(t, s.NS, "web-v2") // which a held one is not
	if len(d.Spec.Template.Labels) != 2 {
		t.Errorf("the pods' labels are %v", d.Spec.Template.Labels)
	}
	for _, c := range d.Status.Conditions {
		if strings.HasPrefix(string(c.Type), "grayscale.dev/") {
			t.Errorf("web-v2 has the condition %s", c.Type)
		}
	}
	if out := harness.Kubectl(t, "", "get", "-n", s.NS, "virtualservices,destinationrules"); !strings.Contains(out, "No resources found") {
		t.Errorf("routes in a namespace that is none of grayscale's: %s", out)
	}
}

// makeNamespace makes the release's namespace as install.md asks for it.
func (i *installation) makeNamespace() {
	i.t.Helper()
	harness.Eventually(i.t, "namespace "+i.namespace+" is a new one", func() error {
		out, err := harness.TryKubectl(i.t, "", "create", "namespace", i.namespace)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	harness.Kubectl(i.t, "", "label", "namespace", i.namespace, "pod-security.kubernetes.io/enforce=restricted")
	i.t.Cleanup(func() { harness.Kubectl(i.t, "", "delete", "namespace", i.namespace, "--wait=false") })
}

// check renders the chart and has the API server look at every object, without installing anything.
func (i *installation) check() {
	i.t.Helper()
	harness.Helm(i.t, i.with("lint", "--strict", chart)...)
	strictly(i.t, "", harness.Helm(i.t, i.with("template", "grayscale", chart, "-n", i.namespace)...))
}

// with adds the values to Helm's arguments.
func (i *installation) with(args ...string) []string {
	return slices.Concat(args, []string{"-f", i.values}, i.more)
}

// mount makes the Secret that a platform team would keep.
func (i *installation) mount() {
	i.t.Helper()
	ca := harness.NewAuthority(i.t)
	certificate, key := ca.Issue(i.t, "grayscale-webhook."+i.namespace+".svc")
	_, err := harness.Kube().CoreV1().Secrets(i.namespace).Create(context.Background(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: platformSecret}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: certificate, corev1.TLSPrivateKeyKey: key}}, metav1.CreateOptions{})
	if err != nil {
		i.t.Fatal(err)
	}
	bundle := filepath.Join(i.t.TempDir(), "ca.pem")
	if err := os.WriteFile(bundle, ca.PEM, 0o600); err != nil {
		i.t.Fatal(err)
	}
	i.more = []string{"--set-file", "webhook.certificate.caBundle=" + bundle}
}

// platformSecret is the one that mounted-values.yaml names.
const platformSecret = "webhook-tls"

// install runs the lab's grayscale binary wherever the image's name says so.
func (i *installation) install() {
	i.t.Helper()
	harness.UseProduct(i.t)
	i.earlier = i.logs()
	var err error
	if i.before, err = harness.Requests(i.namespace, "grayscale"); err != nil {
		i.t.Fatal(err)
	}
	harness.Helm(i.t, i.with("install", "grayscale", chart, "-n", i.namespace, "--wait")...)
	i.t.Cleanup(func() {
		if i.t.Failed() { // else the story has uninstalled it
			i.showLogs()
			_, _ = harness.TryHelm(i.t, "uninstall", "grayscale", "-n", i.namespace, "--wait")
		}
	})
	i.answers()
}

// answers waits until every replica is ready and the webhook denies what is wrong: one that cannot be reached may be
// skipped.
func (i *installation) answers() {
	i.t.Helper()
	harness.WaitReady(i.t, i.namespace, "grayscale")
	probe, ns := shop{}.deployment("probe", "strategy: none"), "default"
	if len(i.confined) > 0 {
		ns = i.confined[0]
	}
	harness.Eventually(i.t, "the webhook answers", func() error {
		out, err := harness.TryKubectl(i.t, probe, "create", "-n", ns, "--dry-run=server", "-f", "-")
		if err == nil || !strings.Contains(out, "validate.grayscale.dev") || !strings.Contains(out, "denied") {
			return fmt.Errorf("a wrong strategy is not denied: %s", out)
		}
		return nil
	})
}

// rightsSuffice fails where the API server refused anything that grayscale tried, or where it looked further than it is
// to. What it does after its uninstallation has begun is not looked at: its rights go before its Pods do.
func (i *installation) rightsSuffice() {
	i.t.Helper()
	account := harness.Kubectl(i.t, "", "get", "deploy/grayscale", "-n", i.namespace, "-o", "jsonpath={.spec.template.spec.serviceAccountName}")
	requests, err := harness.Requests(i.namespace, account)
	if err != nil || len(requests) == 0 {
		i.t.Fatalf("%s has made %d requests: %v", account, len(requests), err)
	}
	for _, q := range requests {
		switch {
		case slices.Contains(i.before, q):
		case q.Refused:
			i.t.Errorf("grayscale may not %s", q)
		case len(i.confined) > 0 && q.Resource != "mutatingwebhookconfigurations" && q.Resource != "validatingwebhookconfigurations" &&
			q.Namespace != i.namespace && !slices.Contains(i.confined, q.Namespace):
			i.t.Errorf("grayscale looked further than it is to: %s", q)
		}
	}
}

// logs are those of this release's Pods.
func (i *installation) logs() []string {
	i.t.Helper()
	logs, err := filepath.Glob(filepath.Join(harness.Lab().Dir, "logs", i.namespace+"_*.log"))
	if err != nil {
		i.t.Fatal(err)
	}
	return slices.DeleteFunc(logs, func(path string) bool { return slices.Contains(i.earlier, path) })
}

func (i *installation) showLogs() {
	for _, path := range i.logs() {
		content, _ := os.ReadFile(path) // what it could say is a help, not a must
		i.t.Logf("%s\n%s", filepath.Base(path), content[max(0, len(content)-8000):])
	}
}

// nothingLeft looks through every kind of object that the API server has, in all namespaces and outside them.
// What belongs to every namespace and Events, which go by themselves within the hour, are nobody's remains.
func (i *installation) nothingLeft() {
	i.t.Helper()
	harness.Eventually(i.t, "nothing of grayscale is left", func() error {
		lists, err := harness.Kube().Discovery().ServerPreferredResources()
		if err != nil {
			return err
		}
		var left []string
		for _, list := range lists {
			for _, r := range list.APIResources {
				if strings.Contains(strings.Join(r.Verbs, " "), "list") && r.Kind != "Event" {
					found, err := i.remains(list.GroupVersion, r)
					if err != nil {
						return err
					}
					left = append(left, found...)
				}
			}
		}
		if len(left) > 0 {
			return fmt.Errorf("%d objects are left: %v", len(left), left)
		}
		return nil
	})
}

// remains are the objects of one kind that nobody else can have made.
func (i *installation) remains(version string, r metav1.APIResource) ([]string, error) {
	path := "/apis/" + version
	if version == "v1" {
		path = "/api/v1"
	}
	raw, err := harness.Kube().Discovery().RESTClient().Get().AbsPath(path, r.Name).DoRaw(context.Background())
	if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s/%s: %w", path, r.Name, err)
	}
	var list struct {
		Items []metav1.PartialObjectMetadata
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, err
	}
	var found []string
	for _, o := range list.Items {
		ours := o.Namespace == i.namespace && o.Name != "default" && o.Name != "kube-root-ca.crt" && o.Name != platformSecret ||
			o.Labels["app.kubernetes.io/name"] == "grayscale" || !r.Namespaced && strings.HasPrefix(o.Name, "grayscale") && r.Kind != "Namespace"
		if ours {
			found = append(found, strings.TrimSpace(r.Kind+" "+o.Namespace+" "+o.Name))
		}
	}
	return found, nil
}

// The Prometheus operator's definitions come from its Go module, whose content this sum is of.
const (
	operator    = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
	operatorSum = "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s="
)

func prometheusOperator(t *testing.T) {
	t.Helper()
	cmd := exec.Command("go", "mod", "download", "-json", operator)
	cmd.Dir = t.TempDir() // outside any module, so that none is changed
	out, err := cmd.Output()
	var module struct{ Dir, Sum string }
	if err == nil {
		err = json.Unmarshal(out, &module)
	}
	if err != nil || module.Sum != operatorSum {
		t.Fatalf("%s: %v: sum %q, want %q\n%s", operator, err, module.Sum, operatorSum, out)
	}
	for _, kind := range []string{"servicemonitors", "prometheusrules"} {
		file := filepath.Join(module.Dir, "example", "prometheus-operator-crd", "monitoring.coreos.com_"+kind+".yaml")
		harness.Kubectl(t, "", "apply", "--server-side", "-f", file)
		t.Cleanup(func() { harness.Kubectl(t, "", "delete", "-f", file) })
		harness.WaitEstablished(t, kind+".monitoring.coreos.com")
	}
}

// alertsHaveMetrics fails where an alert reads a metric that no replica has: it would never fire. One release is
// programmed and one refused meanwhile.
func alertsHaveMetrics(t *testing.T) {
	t.Helper()
	for _, metric := range []struct{ name, label string }{
		{"leader_election_master_status", `name="grayscale"`},
		{"controller_runtime_reconcile_total", `controller="annotator"`},
		{"controller_runtime_webhook_requests_total", `code="200"`},
		{"grayscale_releases", `state="programmed"`},
		{"grayscale_releases", `state="refused"`},
	} {
		harness.Eventually(t, metric.name, func() error {
			for _, r := range harness.Replicas(t) {
				if value, err := r.Metric(metric.name, metric.label); err != nil || value > 0 {
					return err
				}
			}
			return fmt.Errorf("no replica has it with %s", metric.label)
		})
	}
}
