package mesh

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

var reviews = release.Service{Namespace: "shop", Name: "reviews", UID: "0a"}

func TestEqualState(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{`{"stable":1}`, `{"stable":1}`, true},
		{`{"stable":1}`, `{"stable":2}`, false},
		{`{"stable":1}`, `{"schema":1,"stable":1}`, true},
		{`{"schema":1,"stable":1}`, `{"schema":1,"stable":1}`, true},
		{`{"schema":1,"stable":1}`, `{"schema":1,"stable":2}`, false},
		{`{"stable":1}`, `{"schema":2,"stable":1}`, false},
		{`{"schema":1,"stable":1}`, `{"schema":2,"stable":1}`, false},
		{`{"schema":1,"stable":1}`, `{"schema":11,"stable":1}`, false},
		{"", "", true},
		{"", `{"schema":1,"stable":1}`, false},
	} {
		if got := equalState(c.a, c.b); got != c.want {
			t.Errorf("%s and %s: %t", c.a, c.b, got)
		}
		if got := equalState(c.b, c.a); got != c.want {
			t.Errorf("%s and %s: %t", c.b, c.a, got)
		}
	}
}

// What others added to an object does not count; each part of ours does.
func TestEqualMeta(t *testing.T) {
	build := func() *metav1.ObjectMeta {
		meta := ObjectMeta(reviews, release.State{Newest: "7"})
		return &meta
	}
	got := build()
	got.ResourceVersion = "42"
	got.Labels["team"], got.Annotations["note"] = "shop", "hands off"
	got.OwnerReferences = append(got.OwnerReferences, metav1.OwnerReference{Kind: "Team"})
	got.Annotations[intent.KeyState] = withoutSchema(got.Annotations[intent.KeyState]) // an older grayscale wrote it
	if !EqualMeta(got, build()) {
		t.Errorf("%+v is not equal", got)
	}
	for name, edit := range map[string]func(*metav1.ObjectMeta){
		"other name":      func(o *metav1.ObjectMeta) { o.Name = "mine" },
		"other namespace": func(o *metav1.ObjectMeta) { o.Namespace = "bank" },
		"label removed":   func(o *metav1.ObjectMeta) { delete(o.Labels, ManagedBy) },
		"state removed":   func(o *metav1.ObjectMeta) { delete(o.Annotations, intent.KeyState) },
		"other state":     func(o *metav1.ObjectMeta) { Remember(o, release.State{Newest: "8"}) },
		"owner removed":   func(o *metav1.ObjectMeta) { o.OwnerReferences = nil },
		"other owner":     func(o *metav1.ObjectMeta) { o.OwnerReferences[0].UID = "1b" },
	} {
		edited := build()
		if edit(edited); EqualMeta(edited, build()) {
			t.Errorf("%s: not seen", name)
		}
	}
}

// An object is ours if it has our label or our state. Its state is read back, unless it is damaged.
func TestRemember(t *testing.T) {
	o := &metav1.ObjectMeta{}
	if _, ok := ReadState(o); ok || Ours(o) {
		t.Error("an object without anything of ours is ours, or remembers something")
	}
	Remember(o, release.State{Stable: release.Member{Deployment: "reviews-v1", Version: "v1"}})
	if st, ok := ReadState(o); !ok || st.Stable.Version != "v1" || !Ours(o) {
		t.Errorf("%+v (%t)", st, ok)
	}
	Remember(o, release.Subsets{Added: map[string]time.Time{"v1": {}}})
	if sub, ok := ReadSubsets(o); !ok || len(sub.Added) != 1 {
		t.Errorf("%+v (%t)", sub, ok)
	}
	for _, damage := range []string{"", "{", "[]", `{"stable": 1, "added": 1}`} {
		o.Annotations[intent.KeyState] = damage
		if st, ok := ReadState(o); ok || st.Stable.Version != "" {
			t.Errorf("state %q read as %+v", damage, st)
		}
		if sub, ok := ReadSubsets(o); ok || sub.Added != nil {
			t.Errorf("subsets %q read as %+v", damage, sub)
		}
	}
	o.Annotations, o.Labels = nil, map[string]string{ManagedBy: Manager}
	if !Ours(o) {
		t.Error("the label does not tell ours")
	}
}
