package webhook

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/routing/cluster"
	"grayscale.dev/grayscale/routing/intent"
)

// The webhook reads from the JSON what the controller reads from the decoded object: both see the same Deployment.
func TestReadIsWhatTheControllerReads(t *testing.T) {
	tests := map[string]appsv1.Deployment{
		"as created":   web("web-v2", canary(intent.KeyWeight, "10")),
		"with nothing": {},
		"as stored": web("web-v2", canary(intent.KeyWeight, "10", "team", `a "quoted" \ name`+"\n"), labelled("v2"), paused, func(d *appsv1.Deployment) {
			d.UID = "5b0f"
			d.CreationTimestamp = metav1.NewTime(time.Date(2026, 8, 1, 10, 0, 0, 0, time.UTC))
			d.Spec.Replicas = ptr[int32](7)
		}),
		"scaled to zero": web("web-v2", nil, func(d *appsv1.Deployment) { d.Spec.Replicas = ptr[int32](0) }),
		"being deleted": web("web-v2", nil, func(d *appsv1.Deployment) {
			d.DeletionTimestamp = ptr(metav1.NewTime(time.Date(2026, 8, 1, 10, 0, 0, 0, time.UTC)))
		}),
	}
	for name, d := range tests {
		t.Run(name, func(t *testing.T) {
			raw := encoded(t, d)
			var back appsv1.Deployment
			if err := json.Unmarshal(raw, &back); err != nil {
				t.Fatal(err)
			}
			got, want := read(raw).Deployment, cluster.Deployment(&back)
			if !got.CreatedAt.Equal(want.CreatedAt) {
				t.Errorf("created at %v, want %v", got.CreatedAt, want.CreatedAt)
			}
			got.CreatedAt, want.CreatedAt = time.Time{}, time.Time{}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestSameTemplate(t *testing.T) {
	unlabelled := func(d *appsv1.Deployment) { d.Spec.Template.Labels = nil }
	label := func(key, value string) func(*appsv1.Deployment) {
		return func(d *appsv1.Deployment) { d.Spec.Template.Labels[key] = value }
	}
	tests := map[string]struct {
		a, b func(*appsv1.Deployment)
		same bool
	}{
		"equal":                         {paused, paused, true},
		"what is outside the template":  {paused, func(*appsv1.Deployment) {}, true},
		"the version label appears":     {paused, labelled("v2"), true},
		"the version label goes":        {labelled("v2"), paused, true},
		"the version label changes":     {labelled("v2"), labelled("v3"), true},
		"another label appears":         {paused, label("tier", "front"), false},
		"another label changes":         {label("tier", "front"), label("tier", "back"), false},
		"the image":                     {paused, image("example/web:2"), false},
		"the image and the label":       {labelled("v2"), image("example/web:2"), false},
		"all labels go":                 {labelled("v2"), unlabelled, false},
		"no labels on either side":      {unlabelled, unlabelled, true},
		"an annotation of the template": {paused, func(d *appsv1.Deployment) { d.Spec.Template.Annotations = map[string]string{"a": "b"} }, false},
		"labels that stand in the text twice": {labelled("v2"), func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.NodeSelector = d.Spec.Template.Labels
		}, false},
		"a node selector like the labels": {
			func(d *appsv1.Deployment) {
				labelled("v2")(d)
				d.Spec.Template.Spec.NodeSelector = d.Spec.Template.Labels
			},
			func(d *appsv1.Deployment) {
				labelled("v2")(d)
				d.Spec.Template.Spec.NodeSelector = map[string]string{"app": "web", "instance": "web-v2"}
			}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a, b := read(encoded(t, web("web-v2", nil, tt.a))), read(encoded(t, web("web-v2", nil, tt.b)))
			if got := sameTemplate(a, b); got != tt.same {
				t.Errorf("got %v", got)
			}
			if got := sameTemplate(b, a); got != tt.same {
				t.Errorf("the other way round: got %v", got)
			}
		})
	}
}

// Callers may send anything to the webhook's port. Reading it never panics, and a Deployment is read as encoding/json
// reads it.
func FuzzRead(f *testing.F) {
	f.Add(encoded(f, web("web-v2", canary(intent.KeyWeight, "10"), labelled("v2"), paused)))
	f.Add(encoded(f, web("web-v2", nil, func(d *appsv1.Deployment) { d.Spec.Template = corev1.PodTemplateSpec{} })))
	for _, s := range []string{``, `{`, `{"metadata":null,"spec":{"template":[]}}`, `{"metadata":{"annotations":{"grayscale.dev/weight":5}}}`,
		`{"spec":{"template":{"metadata":{"labels":"x"}}}}`, `{"metadata":{"annotations":{"\u0067rayscale.dev/weight":"\ud800"}}}`, `[]`, `"`, "\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		o := read(raw)
		sameTemplate(o, o)
		var d struct {
			Metadata struct {
				Name string `json:"name"`
			} `json:"metadata"`
		}
		if json.Unmarshal(raw, &d) == nil && len(raw) > 0 && o.Name == "" && d.Metadata.Name != "" && plain(raw) {
			t.Errorf("the name %q was not read", d.Metadata.Name)
		}
	})
}

// plain reports whether the JSON has the form in which the API server sends it. encoding/json ignores the case of keys
// and merges duplicate ones, which read does not; the API server sends neither.
func plain(raw []byte) bool {
	var top map[string]json.RawMessage
	var metadata map[string]json.RawMessage
	if json.Unmarshal(raw, &top) != nil || json.Unmarshal(top["metadata"], &metadata) != nil {
		return false
	}
	canonical, err := json.Marshal(map[string]any{"metadata": map[string]json.RawMessage{"name": metadata["name"]}})
	return err == nil && string(canonical) == string(raw)
}
