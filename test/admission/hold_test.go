package admission

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
	"grayscale.dev/grayscale/test/harness"
)

// A new candidate gets the version label in its template and no pod.
func TestCandidateIsLabelledAndHeld(t *testing.T) {
	d := newDoor(t)
	held(t, d.mustCreate(t, candidate("web-v2", "weight", "10")), "v2")
	harness.WaitDeployment(t, d.ns, "web-v2", "its controller has seen it", func(o *appsv1.Deployment) bool {
		return o.Status.ObservedGeneration >= o.Generation
	})
	if pods := d.pods(t); len(pods) > 0 {
		t.Errorf("a held candidate has %d pods", len(pods))
	}
}

// A declared stable is labelled at creation, and nothing holds it.
func TestDeclaredStableIsLabelled(t *testing.T) {
	d := newDoor(t)
	stable := plain("web-v1")
	stable.Annotations = map[string]string{intent.KeyService: "web"}
	made := d.mustCreate(t, stable)
	labelledAs(t, made, "v1")
	if made.Spec.Paused || made.Annotations[intent.KeyHeld] != "" {
		t.Errorf("a stable is held: %v %v", made.Spec.Paused, made.Annotations)
	}
}

// Dry-run shows what would be stored, and stores nothing.
func TestDryRun(t *testing.T) {
	d := newDoor(t)
	made, err := d.dryCreate(candidate("web-v2"))
	if err != nil {
		t.Fatal(err)
	}
	held(t, made, "v2")
	if _, err := d.dryCreate(candidate("web-v2", "weight", "150")); err == nil {
		t.Error("a wrong weight passes with --dry-run=server")
	}
	list, err := d.kube.AppsV1().Deployments(d.ns).List(context.Background(), metav1.ListOptions{})
	if err != nil || len(list.Items) > 0 {
		t.Errorf("%d Deployments are stored: %v", len(list.Items), err)
	}
}

// Applying the same manifest again, with any tool, leaves a held candidate labelled and held, and does not change its
// generation, except with replace.
func TestReapplyKeepsLabelAndHold(t *testing.T) {
	manifest := func(t *testing.T, change ...func(*appsv1.Deployment)) string {
		o := candidate("web-v2", "weight", "10")
		for _, c := range change {
			c(o)
		}
		return harness.YAML(t, o)
	}
	// Users' usual actions on held Deployments. The YAML of a Deployment omits paused: false, so it is patched in.
	for name, how := range map[string]struct{ first, again []string }{
		"client-side apply": {[]string{"apply"}, []string{"apply"}},
		"server-side apply": {[]string{"apply", "--server-side"}, []string{"apply", "--server-side"}},
		"replace":           {[]string{"create"}, []string{"replace"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t)
			use := func(command []string, text string) {
				harness.Kubectl(t, text, append(command, "-n", d.ns, "-f", "-")...)
			}
			use(how.first, manifest(t))
			held(t, d.get(t, "web-v2"), "v2")
			use(how.again, manifest(t))
			held(t, d.get(t, "web-v2"), "v2")
			use(how.again, pausedFalse(t, manifest(t)))
			held(t, d.get(t, "web-v2"), "v2")
			use(how.again, manifest(t, func(o *appsv1.Deployment) { o.Spec.Template.Spec.Containers[0].Image = "example/app:2" }))
			held(t, d.get(t, "web-v2"), "v2")
			if pods := d.pods(t); len(pods) > 0 {
				t.Errorf("it got %d pods", len(pods))
			}
		})
	}
}

// If only the annotation of a hold is removed, the webhook restores it: without it nobody would end the pause.
func TestMarkOfAHoldComesBack(t *testing.T) {
	d := newDoor(t)
	held(t, d.mustCreate(t, candidate("web-v2")), "v2")
	after, err := d.kube.AppsV1().Deployments(d.ns).Patch(context.Background(), "web-v2", types.MergePatchType,
		[]byte(`{"metadata":{"annotations":{"grayscale.dev/held":null}}}`), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	held(t, after, "v2")
}

// pausedFalse makes a manifest say paused: false, which the Go type cannot.
func pausedFalse(t *testing.T, manifest string) string {
	t.Helper()
	const spec = "\nspec:\n"
	before, after, found := strings.Cut(manifest, spec)
	if !found {
		t.Fatalf("no spec in %s", manifest)
	}
	return before + spec + "  paused: false\n" + after
}

// An update that only touches annotations never changes the pod template, even if that has no version label.
func TestAnnotatingLeavesTheTemplateAlone(t *testing.T) {
	d := newDoor(t)
	before := d.mustCreate(t, plain("web-v1"))
	for _, annotations := range []map[string]string{
		{intent.KeyStrategy: "canary", intent.KeyWeight: "10"},
		{intent.KeyVersion: "v7"},
		{intent.KeyService: "web"},
	} {
		change, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": annotations}})
		if err != nil {
			t.Fatal(err)
		}
		after, err := d.kube.AppsV1().Deployments(d.ns).Patch(context.Background(), "web-v1", types.MergePatchType, change, metav1.PatchOptions{DryRun: dryRun})
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(before.Spec, after.Spec) {
			t.Errorf("with %v the spec changed from %+v to %+v", annotations, before.Spec, after.Spec)
		}
	}
}

// If an update drops the label of a release's running pods, admission restores it before a pod is lost.
func TestDroppedLabelComesBack(t *testing.T) {
	d := newDoor(t)
	stable := plain("web-v1")
	stable.Annotations = map[string]string{intent.KeyService: "web"}
	stable.Spec.Template.Labels[release.VersionLabel] = "v1"
	d.mustCreate(t, stable)
	again := plain("web-v1")
	again.Annotations = stable.Annotations
	after, err := d.kube.AppsV1().Deployments(d.ns).Update(context.Background(), again, metav1.UpdateOptions{DryRun: dryRun})
	if err != nil {
		t.Fatal(err)
	}
	labelledAs(t, after, "v1")
}
