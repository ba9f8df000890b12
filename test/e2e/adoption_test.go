package e2e

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/test/harness"
)

// The first candidate comes behind a Deployment that has been running for a long time without a version label. The
// Deployment is adopted while it runs.
func TestAdoptionOfRunningDeployment(t *testing.T) {
	s, _ := startWeb(t)
	before := s.pods("web-v1")

	s.Apply(web("web-v2", "strategy: canary", `weight: "25"`))
	s.Programmed("web-v2", "canary 25% of web")
	s.Served(split{"v1": 75, "v2": 25})
	s.untouched("web-v1", before)
	s.labelled("web-v1", "v1", 2)

	// New pods have the label from the start.
	s.Kubectl("scale", "deploy/web-v1", "--replicas=3")
	harness.WaitReady(t, s.NS, "web-v1")
	s.labelled("web-v1", "v1", 3)

	d, err := harness.Kube().AppsV1().Deployments(s.NS).Get(context.Background(), "web-v1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if d.Spec.Paused {
		t.Error("web-v1 was left paused")
	}
	if got := d.Spec.Selector.MatchLabels["version"]; got != "" {
		t.Errorf("spec.selector got version=%s", got)
	}
}

// kubectl annotate can make a running Deployment a candidate: it is adopted as well, and keeps its pods.
func TestAdoptionOfRunningCandidate(t *testing.T) {
	s, _ := startWeb(t)
	s.Apply(web("web-v2"))
	harness.WaitReady(t, s.NS, "web-v2")
	stable, candidate := s.pods("web-v1"), s.pods("web-v2")

	s.Annotate("web-v2", "strategy=canary", "weight=40", "stable=web-v1")
	s.Programmed("web-v2", "canary 40% of web")
	s.Served(split{"v1": 60, "v2": 40})
	s.untouched("web-v1", stable)
	s.untouched("web-v2", candidate)
}

// labelled fails the test unless exactly n pods of the Deployment carry the version.
func (s story) labelled(instance, version string, n int) {
	s.T.Helper()
	if got := harness.PodUIDs(s.T, s.NS, "instance="+instance+",version="+version); len(got) != n {
		s.T.Errorf("%d pods of %s carry version=%s, want %d", len(got), instance, version, n)
	}
}
