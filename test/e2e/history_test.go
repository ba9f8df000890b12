package e2e

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/test/harness"
)

// history is every state that the routes of a story have been in, for what must hold at each instant and not only when
// somebody looks.
type history struct {
	t *testing.T
	*harness.History
}

// history begins before the story's first routes are written.
func (s story) history() history {
	s.t.Helper()
	return history{s.t, harness.Record(s.t, s.ns)}
}

// routes are the writes of VirtualServices so far.
func (h history) routes() []harness.Write {
	h.t.Helper()
	return h.Writes(func(w harness.Write) bool { return w.Kind == "virtualservices" })
}

// departures is how often a version was taken out of the routes.
func (h history) departures(version string) int {
	h.t.Helper()
	n, was := 0, false
	for _, w := range h.routes() {
		_, is := w.Weights[version]
		if was && !is {
			n++
		}
		was = is
	}
	return n
}

// readySpells is how often a version has had a ready pod for at least so long, the spell that lasts now included.
func (h history) readySpells(version string, atLeast time.Duration) int {
	h.t.Helper()
	n, ready := 0, map[string]bool{}
	var since time.Time
	for _, w := range h.Writes(func(w harness.Write) bool { return w.Kind == "pods" }) {
		was := len(ready) > 0
		delete(ready, w.Name)
		if w.Ready && w.Version == version {
			ready[w.Name] = true
		}
		switch is := len(ready) > 0; {
		case is && !was:
			since = w.At
		case was && !is && w.At.Sub(since) >= atLeast:
			n++
		}
	}
	if len(ready) > 0 && time.Since(since) >= atLeast {
		n++
	}
	return n
}

// consistent fails the test where routes led to a subset that did not exist, at any instant.
func (h history) consistent() {
	h.t.Helper()
	for _, b := range h.Breaches() {
		h.t.Errorf("routes led to a subset that did not exist: %+v", b)
	}
}

// subsets waits until the derived DestinationRule has these versions' subsets and no others, each with its version's pods.
func (s story) subsets(service string, versions ...string) {
	s.t.Helper()
	want := map[string]string{}
	for _, v := range versions {
		want[v] = fmt.Sprint(map[string]string{"version": v})
	}
	harness.Eventually(s.t, fmt.Sprintf("the subsets of Service %s are those of %v", service, versions), func() error {
		rule, err := harness.Istio().NetworkingV1().DestinationRules(s.ns).Get(context.Background(), service+"-grayscale", metav1.GetOptions{})
		if err != nil {
			return err
		}
		got := map[string]string{}
		for _, subset := range rule.Spec.Subsets {
			got[subset.Name] = fmt.Sprint(subset.Labels)
		}
		if !maps.Equal(got, want) {
			return fmt.Errorf("they are %v", got)
		}
		return nil
	})
}
