package e2e

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/test/harness"
)

// loadRate is the load during every story, in requests per second: enough to hit a window of 20 ms, little enough for
// several stories at once on 2 cores.
const loadRate = 60

type story struct{ harness.Story }

func newStory(t *testing.T) story {
	t.Helper()
	t.Parallel()
	return story{harness.NewStory(t)}
}

// startWeb applies Service web and a plain web-v1, and starts the load on them.
func startWeb(t *testing.T) (story, *harness.Load) {
	t.Helper()
	s := newStory(t)
	s.Apply(all(webService, web("web-v1")))
	harness.WaitReady(t, s.NS, "web-v1")
	return s, s.load(s.URL)
}

func (s story) load(url string) *harness.Load {
	s.T.Helper()
	return s.Load(url, loadRate)
}

// refused applies a manifest that has to be denied, and returns the answer.
func (s story) refused(manifest string) string {
	s.T.Helper()
	out, err := harness.TryKubectl(s.T, manifest, "apply", "-n", s.NS, "-f", "-")
	if err == nil {
		s.T.Fatalf("this was not refused:\n%s\nkubectl said: %s", manifest, out)
	}
	return out
}

// split is a share in percent by version.
type split = map[string]float64

// pods are the UIDs of a Deployment's pods by name.
func (s story) pods(instance string) map[string]string {
	s.T.Helper()
	return harness.PodUIDs(s.T, s.NS, "instance="+instance)
}

// untouched fails the test unless the Deployment still has exactly these pods, never restarted, in one ReplicaSet.
func (s story) untouched(instance string, before map[string]string) {
	s.T.Helper()
	if now := s.pods(instance); len(before) == 0 || !maps.Equal(now, before) {
		s.T.Errorf("the pods of %s were %v, and are %v", instance, before, now)
	}
	if n := harness.Restarts(s.T, s.NS, "instance="+instance); n != 0 {
		s.T.Errorf("the containers of %s were restarted %d times", instance, n)
	}
	sets, err := harness.Kube().AppsV1().ReplicaSets(s.NS).List(context.Background(), metav1.ListOptions{LabelSelector: "instance=" + instance})
	if err != nil {
		s.T.Fatal(err)
	}
	if len(sets.Items) != 1 {
		s.T.Errorf("%s has %d ReplicaSets: it was rolled", instance, len(sets.Items))
	}
}

// noTrace waits until the Deployment has no trace of grayscale any more: no annotation, no condition, not paused.
func (s story) noTrace(deployment string) {
	s.T.Helper()
	harness.Eventually(s.T, "no trace on "+deployment, func() error {
		d, err := harness.Kube().AppsV1().Deployments(s.NS).Get(context.Background(), deployment, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for key := range d.Annotations {
			// kubectl's own record of the last apply holds what the user wrote.
			if strings.HasPrefix(key, "grayscale.dev/") {
				return fmt.Errorf("annotation %s is left", key)
			}
		}
		for _, c := range d.Status.Conditions {
			if strings.HasPrefix(string(c.Type), "grayscale.dev/") {
				return fmt.Errorf("condition %s is left", c.Type)
			}
		}
		if d.Spec.Paused {
			return fmt.Errorf("it is paused")
		}
		return nil
	})
}
