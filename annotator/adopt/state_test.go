package adopt

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/routing/release"
)

// replicaSet has the template's labels, version aside, and has been seen by the controllers unless unseen.
func replicaSet(name, version string, replicas int32) *appsv1.ReplicaSet {
	set := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: name}}
	set.Spec.Replicas = &replicas
	set.Spec.Template = template(version)
	set.Spec.Template.Labels["pod-template-hash"] = name
	set.Generation, set.Status.ObservedGeneration = 1, 1
	return set
}

func template(version string) corev1.PodTemplateSpec {
	labels := map[string]string{"app": "web"}
	if version != "" {
		labels["version"] = version
	}
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}}
}

func unseen(set *appsv1.ReplicaSet) *appsv1.ReplicaSet {
	set.Generation = 2
	return set
}

func TestNextStepOfAnAdoption(t *testing.T) {
	const user, ours = "user", "ours"
	for _, c := range []struct {
		what, label, pause string
		behind             bool // the Deployment controller has not seen the pause
		image              string
		sets               []*appsv1.ReplicaSet
		want               release.AdoptionStep
	}{
		{"running", "", "", false, "", []*appsv1.ReplicaSet{replicaSet("a", "", 2)}, release.Pause},
		{"paused, unseen", "", ours, true, "", []*appsv1.ReplicaSet{replicaSet("a", "", 2)}, release.AwaitPause},
		{"paused", "", ours, false, "", []*appsv1.ReplicaSet{replicaSet("a", "", 2)}, release.LabelSets},
		{"set labelled, unseen", "", ours, false, "", []*appsv1.ReplicaSet{unseen(replicaSet("a", "v1", 2))}, release.AwaitSets},
		{"set labelled", "", ours, false, "", []*appsv1.ReplicaSet{replicaSet("a", "v1", 2)}, release.LabelTemplate},
		{"done", "v1", "", false, "", []*appsv1.ReplicaSet{replicaSet("a", "v1", 2)}, release.LabelPods},
		{"labelled by the user meanwhile", "v1", ours, false, "", []*appsv1.ReplicaSet{replicaSet("a", "v1", 2)}, release.LabelTemplate},
		{"paused by the user", "", user, false, "", []*appsv1.ReplicaSet{replicaSet("a", "", 2)}, release.LabelSets},
		{"paused by the user with another template to come", "", user, false, "new", []*appsv1.ReplicaSet{replicaSet("a", "", 2)}, release.LabelSets},
		{"the same, its set labelled", "", user, false, "new", []*appsv1.ReplicaSet{replicaSet("a", "v1", 2)}, release.LabelTemplate},
		{"no set yet", "", "", false, "", nil, release.LabelTemplate},
		{"label dropped by a re-apply", "", "", false, "", []*appsv1.ReplicaSet{replicaSet("a", "v1", 2), replicaSet("b", "", 1)}, release.LabelTemplate},
		{"label dropped by a re-apply, its set being scaled down for another", "", "", false, "", []*appsv1.ReplicaSet{unseen(replicaSet("a", "v1", 2)), replicaSet("b", "", 1)}, release.Pause},
		{"another version", "v0", "", false, "", []*appsv1.ReplicaSet{replicaSet("a", "v0", 2)}, release.LabelTemplate},
	} {
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web", Annotations: map[string]string{}}}
		d.Spec.Template = template(c.label)
		if c.image != "" {
			d.Spec.Template.Spec.Containers = []corev1.Container{{Image: c.image}}
		}
		d.Spec.Paused = c.pause != ""
		if c.pause == ours {
			d.Annotations["grayscale.dev/held"] = release.Adopting
		}
		if c.behind {
			d.Generation = 1
		}
		if got := (state{deployment: d, sets: c.sets, version: "v1"}).next(); got != c.want {
			t.Errorf("%s: step %d, want %d", c.what, got, c.want)
		}
	}
}
