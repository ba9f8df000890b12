package store

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestFactsForTheWebhook: the webhook gets what the controller would decide from, without times, and only about the
// namespaces that grayscale looks after.
func TestFactsForTheWebhook(t *testing.T) {
	s := world(t, service("web", app), deployment("web", nil), deployment("web-v2", canary),
		pod("one", "web-v2", nil), pod("stray", "gone", nil))
	s.namespaces = []string{shop}
	got, err := s.Facts(t.Context(), shop, "web")
	if err != nil {
		t.Fatal(err)
	}
	want := seenBy(s, "web")
	want.Now, want.RoutesSince, want.RuleSince = time.Time{}, time.Time{}, time.Time{}
	for _, d := range want.Deployments {
		for i := range d.Pods {
			d.Pods[i].Since = time.Time{}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the controller sees -, the webhook sees +:\n%s", diff)
	}
	if len(got.Strays) != 1 || len(got.Deployments) != 2 {
		t.Errorf("got %v", got)
	}
	if _, err := s.Facts(t.Context(), "elsewhere", "web"); err == nil {
		t.Error("a namespace is read that grayscale does not look after")
	}
}
