package store

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

// A subscriber hears of all releases that there are, and then of those that a change affects.
func TestNotify(t *testing.T) {
	s := world(t, service("web", app), deployment("web", nil), deployment("web-v2", canary))
	s.crds = &crdWatcher{looked: make(chan struct{})}
	var got []string
	note := func(services []types.NamespacedName) { got = append(got, sorted(services)...) }
	s.Notify(note)
	if len(got) != 0 {
		t.Errorf("notified of %v before the store is filled", got)
	}
	close(s.crds.looked)
	s.Notify(note)
	if !slices.Equal(got, []string{"shop/web"}) {
		t.Errorf("at first notified of %v, want shop/web", got)
	}
	got = nil
	p := pod("one", "web-v2", nil)
	for _, step := range []struct {
		what   string
		change func() error
		want   []string
	}{
		{"a pod comes", func() error { return sinkFor(s, p).Add(p) }, []string{"shop/web"}},
		{"nothing that is read changes", func() error {
			moved := p.DeepCopy()
			moved.Status.PodIP = "10.0.0.1"
			return sinkFor(s, p).Update(moved)
		}, nil},
		{"it goes", func() error { return sinkFor(s, p).Delete(p) }, []string{"shop/web"}},
		{"a Service without a release comes", func() error {
			o := service("api", map[string]string{"app": "api"})
			return sinkFor(s, o).Add(o)
		}, nil},
	} {
		if err := step.change(); err != nil || !slices.Equal(got, step.want) {
			t.Errorf("%s: notified of %v (%v), want %v", step.what, got, err, step.want)
		}
		got = nil
	}
}
