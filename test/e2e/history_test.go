package e2e

import (
	"context"
	"fmt"
	"maps"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/test/harness"
)

// history is every state that the routes of a story have been in, for checks that must hold at every instant.
type history struct {
	T testing.TB
	*harness.History
}

// history begins before the story's first routes are written.
func (s story) history() history {
	s.T.Helper()
	return history{s.T, harness.Record(s.T, s.NS)}
}

// routes are the writes of VirtualServices so far.
func (h history) routes() []harness.Write {
	h.T.Helper()
	return h.Writes(func(w harness.Write) bool { return w.Kind == "virtualservices" })
}

// consistent fails the test if routes led to a subset that did not exist, at any instant.
func (h history) consistent() {
	h.T.Helper()
	for _, b := range h.Breaches() {
		h.T.Errorf("routes led to a subset that did not exist: %+v", b)
	}
}

// subsets waits until the derived DestinationRule has the subsets of exactly these versions, each with its version's
// pods.
func (s story) subsets(service string, versions ...string) {
	s.T.Helper()
	want := map[string]string{}
	for _, v := range versions {
		want[v] = fmt.Sprint(map[string]string{"version": v})
	}
	harness.Eventually(s.T, fmt.Sprintf("the subsets of Service %s are those of %v", service, versions), func() error {
		rule, err := harness.Istio().NetworkingV1().DestinationRules(s.NS).Get(context.Background(), service+"-grayscale", metav1.GetOptions{})
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
