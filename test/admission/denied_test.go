package admission

import (
	"context"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
	"grayscale.dev/grayscale/test/harness"
)

// Every key of the table refuses its wrong value with the engine's own message.
func TestInvalidValuesAreDenied(t *testing.T) {
	d := newDoor(t)
	tested := 0
	for _, key := range intent.Keys() {
		if key.Refused == "" {
			continue
		}
		tested++
		t.Run(key.Short(), func(t *testing.T) {
			o := candidate("web-v2")
			o.Annotations[intent.KeyStrategy] = string(key.Strategies[len(key.Strategies)-1]) // one that uses the key
			o.Annotations[key.Name] = key.Refused
			_, problems := intent.Parse(release.Object(d.ns, o.Name), o.Annotations)
			i := slices.IndexFunc(problems, func(p intent.Problem) bool { return p.Key == key.Name && p.Kind == intent.Invalid })
			if i < 0 {
				t.Fatalf("the engine takes %s: %q: %v", key.Name, key.Refused, problems)
			}
			_, err := d.create(o)
			if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), problems[i].String()) {
				t.Errorf("got  %v\nwant %s", err, problems[i])
			}
		})
	}
	if tested < 8 {
		t.Errorf("only %d keys of the table have a value to refuse", tested)
	}
}

// What kubectl prints is one clear sentence, with the fix.
func TestKubectlShowsTheSentence(t *testing.T) {
	d := newDoor(t)
	d.mustCreate(t, candidate("web-v2"))
	out, err := harness.TryKubectl(t, "", "annotate", "-n", d.ns, "--overwrite", "deploy/web-v2", "grayscale.dev/weight=150")
	want := "Deployment " + d.ns + `/web-v2 has grayscale.dev/weight: "150", which is above 100`
	if err == nil || !strings.Contains(out, want) || strings.Contains(out, "Forbidden") {
		t.Errorf("got %v: %s\nwant %s", err, out, want)
	}
}

// Two objects want the same thing: the one at admission is refused.
func TestConflictsAreDenied(t *testing.T) {
	d := newDoor(t)
	stable := plain("web-v1")
	stable.Annotations = map[string]string{intent.KeyService: "web"}
	d.mustCreate(t, stable)
	d.mustCreate(t, candidate("web-v2", "weight", "60"))
	harness.Eventually(t, "the webhook knows web-v2", func() error { return d.knowsDeployment("v2") })
	for name, tt := range map[string]struct {
		pairs []string
		says  string
	}{
		"weights over 100": {[]string{"weight", "50"}, "leave it 40%"},
		"version twice":    {[]string{"version", "v2"}, `version "v2"`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := d.create(candidate("web-v3", tt.pairs...)); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
		})
	}
	if _, err := d.dryCreate(candidate("web-v3", "weight", "40")); err != nil {
		t.Errorf("what fits is refused: %v", err)
	}
}

// A Deployment whose annotations may become right is admitted, and a warning says what is missing.
func TestPendingAndUnusedAreWarnings(t *testing.T) {
	d := newDoor(t)
	udp := harness.Service("dns", harness.Port{Name: "dns", Number: 53})
	udp.Spec.Ports[0].Protocol = corev1.ProtocolUDP
	if _, err := d.kube.CoreV1().Services(d.ns).Create(context.Background(), udp, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		pairs []string
		says  string
	}{
		"no stable":      {nil, "no stable Deployment is behind Service"},
		"no Service":     {[]string{"service", "nowhere"}, `names Service "nowhere" in grayscale.dev/service, which does not exist`},
		"not its pods":   {[]string{"service", "dns"}, "does not match the pod template's labels"},
		"unknown key":    {[]string{"weigth", "5"}, "did you mean grayscale.dev/weight?"},
		"unused key":     {[]string{"active", "true"}, "which strategy canary does not use"},
		"reserved key":   {[]string{"steps", "5,10"}, "not supported yet"},
		"stable to come": {[]string{"stable", "web-v0"}, "web-v0"},
	} {
		t.Run(name, func(t *testing.T) {
			d.warned()
			if _, err := d.dryCreate(candidate("web-v2", tt.pairs...)); err != nil {
				t.Fatal(err)
			}
			if got := d.warned(); !strings.Contains(got, tt.says) {
				t.Errorf("got %q, want %q", got, tt.says)
			}
		})
	}
}

// A wrong annotation that was admitted while the webhook was down must not block a new image.
func TestUntouchedProblemsDoNotBlockUpdates(t *testing.T) {
	d := newDoor(t)
	d.mustCreate(t, candidate("web-v2", "weight", "60"))
	harness.Eventually(t, "the webhook knows web-v2", func() error { return d.knowsDeployment("v2") })
	twice := candidate("web-v3", "version", "v2")
	twice.Spec.Template.Labels[release.VersionLabel] = "v2"
	withoutWebhook(t, func() { d.mustCreate(t, twice) })
	o := d.get(t, "web-v3")
	o.Spec.Template.Spec.Containers[0].Image = "example/app:2"
	d.warned()
	_, err := d.kube.AppsV1().Deployments(d.ns).Update(context.Background(), o, metav1.UpdateOptions{})
	if got := d.warned(); err != nil || !strings.Contains(got, `version "v2"`) {
		t.Errorf("got %v, warnings %q", err, got)
	}
}
