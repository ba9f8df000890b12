// Package observability compares metrics, logs and profiles of the real binary with its actions, on the lab. It also
// checks that the series of alerts and dashboard exist.
package observability

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/test/harness"
)

var ctx = context.Background()

func TestMain(m *testing.M) {
	os.Exit(harness.Main(m, harness.Options{Grayscale: true}))
}

// shop makes a namespace with Service web and web-v1 behind it.
func shop(t *testing.T) string {
	t.Helper()
	ns := harness.Namespace(t)
	if _, err := harness.Kube().CoreV1().Services(ns).Create(ctx, harness.Service("web"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	deploy(t, ns, "web-v1", nil)
	harness.WaitReady(t, ns, "web-v1")
	return ns
}

func deploy(t *testing.T, ns, name string, annotations map[string]string) {
	t.Helper()
	d := harness.App{Name: name, Label: "web", Annotations: annotations}.Deployment()
	if _, err := harness.Kube().AppsV1().Deployments(ns).Create(ctx, d, metav1.CreateOptions{FieldManager: "kubectl-create"}); err != nil {
		t.Fatal(err)
	}
}

// canary makes web-v2 a canary and waits until it has its share.
func canary(t *testing.T, ns string, weight int) {
	t.Helper()
	deploy(t, ns, "web-v2", map[string]string{"grayscale.dev/strategy": "canary", "grayscale.dev/weight": fmt.Sprint(weight)})
	harness.WaitProgrammed(t, ns, "web-v2", fmt.Sprintf("canary %d%% of web", weight))
}

func weigh(t *testing.T, ns string, weight int) {
	t.Helper()
	if err := harness.Annotate(ns, "web-v2", []string{fmt.Sprintf("weight=%d", weight)}); err != nil {
		t.Fatal(err)
	}
	harness.WaitProgrammed(t, ns, "web-v2", fmt.Sprintf("canary %d%% of web", weight))
}

// reading is a sum over all replicas.
type reading struct {
	metric string
	labels []string
}

func (r reading) String() string { return r.metric + "{" + strings.Join(r.labels, ",") + "}" }

func (r reading) now(t *testing.T) float64 {
	t.Helper()
	sum := 0.0
	for _, replica := range harness.Replicas(t) {
		one, err := replica.Metric(r.metric, r.labels...)
		if err != nil {
			t.Fatalf("%s: %v", r, err)
		}
		sum += one
	}
	return sum
}

// becomes waits until the reading is a value.
func (r reading) becomes(t *testing.T, want float64) {
	t.Helper()
	harness.Eventually(t, fmt.Sprintf("%s is %v", r, want), func() error {
		if is := r.now(t); is != want {
			return fmt.Errorf("it is %v", is)
		}
		return nil
	})
}
