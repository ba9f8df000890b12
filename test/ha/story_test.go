package ha

import (
	"context"
	"fmt"
	"testing"
	"time"

	"grayscale.dev/grayscale/test/harness"
)

const (
	own      = "grayscale-system"
	replicas = "app.kubernetes.io/name=grayscale"
	loadRate = 200 // requests per second
)

var ctx = context.Background()

// story is a release behind Service web.
type story struct {
	harness.Story
	history *harness.History
}

// newStory makes a story in which a plain web-v1 serves.
func newStory(t *testing.T) story {
	t.Helper()
	s := story{Story: harness.NewStory(t)}
	s.history = harness.Record(t, s.NS)
	s.Apply(harness.YAML(t, harness.Service("web"), harness.App{Name: "web-v1", Label: "web", Replicas: 2}.Deployment()))
	harness.WaitReady(t, s.NS, "web-v1")
	harness.WaitServed(t, s.URL)
	return s
}

// canary brings web-v2 to its weight.
func (s story) canary(percent int) {
	s.T.Helper()
	s.Apply(harness.YAML(s.T, harness.App{Name: "web-v2", Label: "web", Replicas: 2,
		Annotations: map[string]string{"grayscale.dev/strategy": "canary", "grayscale.dev/weight": fmt.Sprint(percent)}}.Deployment()))
	s.programmed(percent)
}

// begin starts a canary, and load until the test ends. No request may be lost.
func begin(t *testing.T) story {
	t.Helper()
	s := newStory(t)
	harness.StartLoad(t, s.URL, loadRate)
	s.canary(5)
	return s
}

func (s story) weigh(percent int) {
	s.T.Helper()
	s.Annotate("web-v2", fmt.Sprintf("weight=%d", percent))
}

func (s story) programmed(percent int) {
	s.T.Helper()
	s.Programmed("web-v2", fmt.Sprintf("canary %d%% of web", percent))
}

// routed waits until the weight is written into the VirtualService, and returns the time of the write.
func (s story) routed(percent int) time.Time {
	s.T.Helper()
	var at time.Time
	harness.Eventually(s.T, fmt.Sprintf("a VirtualService with %d %% for v2", percent), func() error {
		found := s.history.Writes(func(w harness.Write) bool { return w.Kind == "virtualservices" && w.Weights["v2"] == int32(percent) })
		if len(found) == 0 {
			return fmt.Errorf("none yet")
		}
		at = found[0].At
		return nil
	})
	return at
}
