package ha

import (
	"context"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/test/harness"
)

const (
	own      = "grayscale-system"
	replicas = "app.kubernetes.io/name=grayscale"
	loadRate = 200 // requests per second
)

var ctx = context.Background()

// story is a canary behind Service web, with requests under way until the test ends, of which none may be lost.
type story struct {
	t       *testing.T
	ns      string
	history *harness.History
}

func begin(t *testing.T) story {
	t.Helper()
	ns := harness.Namespace(t)
	s := story{t: t, ns: ns, history: harness.Record(t, ns)}
	url := harness.URL(ns, "web", 80)
	stable := harness.App{Name: "web-v1", Label: "web", Replicas: 2}
	candidate := harness.App{Name: "web-v2", Label: "web", Replicas: 2,
		Annotations: map[string]string{"grayscale.dev/strategy": "canary", "grayscale.dev/weight": "5"}}
	harness.Kubectl(t, harness.YAML(t, harness.Service("web"), stable.Deployment()), "apply", "-n", ns, "-f", "-")
	harness.WaitReady(t, ns, "web-v1")
	harness.WaitServed(t, url)
	harness.StartLoad(t, url, loadRate)
	harness.Kubectl(t, harness.YAML(t, candidate.Deployment()), "apply", "-n", ns, "-f", "-")
	s.programmed(5)
	return s
}

// weigh is what kubectl annotate sends.
func (s story) weigh(percent int) {
	s.t.Helper()
	change := fmt.Sprintf(`{"metadata":{"annotations":{"grayscale.dev/weight":"%d"}}}`, percent)
	_, err := harness.Kube().AppsV1().Deployments(s.ns).Patch(ctx, "web-v2", types.MergePatchType, []byte(change), metav1.PatchOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s story) programmed(percent int) {
	s.t.Helper()
	harness.WaitProgrammed(s.t, s.ns, "web-v2", fmt.Sprintf("canary %d%% of web", percent))
}

// routed waits until the weight is written into the VirtualService, and tells when that was.
func (s story) routed(percent int) time.Time {
	s.t.Helper()
	var at time.Time
	harness.Eventually(s.t, fmt.Sprintf("a VirtualService with %d %% for v2", percent), func() error {
		found := s.history.Writes(func(w harness.Write) bool { return w.Kind == "virtualservices" && w.Weights["v2"] == int32(percent) })
		if len(found) == 0 {
			return fmt.Errorf("none yet")
		}
		at = found[0].At
		return nil
	})
	return at
}
