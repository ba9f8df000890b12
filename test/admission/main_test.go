// Package admission calls the webhook through a real API server, as users' tools do, with the product's binary and its
// own manifests installed.
package admission

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
	"grayscale.dev/grayscale/test/harness"
)

func TestMain(m *testing.M) {
	os.Exit(harness.Main(m, harness.Options{Grayscale: true, Settle: 500 * time.Millisecond}))
}

var dryRun = []string{metav1.DryRunAll}

// door is a namespace with Service web and no stable Deployment: a candidate in it stays held, so that the webhook's
// changes stay visible.
type door struct {
	ns       string
	kube     kubernetes.Interface
	lock     sync.Mutex
	warnings []string
}

func newDoor(t *testing.T) *door {
	t.Helper()
	d := &door{ns: harness.Namespace(t)}
	config := harness.Config()
	config.WarningHandler = d
	var err error
	if d.kube, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	if _, err := d.kube.CoreV1().Services(d.ns).Create(context.Background(), harness.Service("web"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	// The webhook reads its caches: new objects have to reach the caches of every replica first. A name that starts with
	// the Service's name gives a version only if the Service is known.
	harness.Eventually(t, "the webhook knows Service web", func() error { return d.knows("web") })
	return d
}

// HandleWarningHeader collects what kubectl would print.
func (d *door) HandleWarningHeader(_ int, _ string, text string) {
	d.lock.Lock()
	defer d.lock.Unlock()
	d.warnings = append(d.warnings, text)
}

// warned returns the warnings since its last call, one per line.
func (d *door) warned() string {
	d.lock.Lock()
	defer d.lock.Unlock()
	all := strings.Join(d.warnings, "\n")
	d.warnings = nil
	return all
}

// candidate is a canary behind Service web; the pairs are further annotations without the prefix, and their values.
func candidate(name string, pairs ...string) *appsv1.Deployment {
	d := plain(name)
	d.Annotations = map[string]string{intent.KeyStrategy: "canary"}
	for i := 0; i < len(pairs); i += 2 {
		d.Annotations[intent.Prefix+pairs[i]] = pairs[i+1]
	}
	return d
}

// plain is a Deployment behind Service web that knows nothing of grayscale.
func plain(name string) *appsv1.Deployment {
	return harness.App{Name: name, Label: "web"}.Deployment()
}

func (d *door) create(o *appsv1.Deployment) (*appsv1.Deployment, error) {
	return d.kube.AppsV1().Deployments(d.ns).Create(context.Background(), o, metav1.CreateOptions{})
}

func (d *door) dryCreate(o *appsv1.Deployment) (*appsv1.Deployment, error) {
	return d.kube.AppsV1().Deployments(d.ns).Create(context.Background(), o, metav1.CreateOptions{DryRun: dryRun})
}

func (d *door) mustCreate(t *testing.T, o *appsv1.Deployment) *appsv1.Deployment {
	t.Helper()
	made, err := d.create(o)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// held fails if the candidate is not labelled and kept at zero pods.
func held(t *testing.T, o *appsv1.Deployment, version string) {
	t.Helper()
	if !o.Spec.Paused || o.Annotations[intent.KeyHeld] == "" {
		t.Errorf("%s is not held: paused=%v annotations=%v", o.Name, o.Spec.Paused, o.Annotations)
	}
	labelledAs(t, o, version)
}

func labelledAs(t *testing.T, o *appsv1.Deployment, version string) {
	t.Helper()
	if got := o.Spec.Template.Labels[release.VersionLabel]; got != version {
		t.Errorf("%s has the version label %q, want %q", o.Name, got, version)
	}
	if got := o.Spec.Selector.MatchLabels[release.VersionLabel]; got != "" {
		t.Errorf("%s has a selector with version %q: grayscale never touches it", o.Name, got)
	}
}

func (d *door) get(t *testing.T, name string) *appsv1.Deployment {
	t.Helper()
	o, err := d.kube.AppsV1().Deployments(d.ns).Get(context.Background(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func (d *door) pods(t *testing.T) []corev1.Pod {
	t.Helper()
	list, err := d.kube.CoreV1().Pods(d.ns).List(context.Background(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}
