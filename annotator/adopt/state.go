package adopt

import (
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// state is a Deployment that is to carry the version label, with its ReplicaSets. Both are read from the API server: no
// step may rest on a cache that lags behind.
type state struct {
	deployment *appsv1.Deployment
	sets       []*appsv1.ReplicaSet // the oldest first, as the Deployment controller looks through them
	version    string
}

// next is the step to take now.
func (s state) next() release.AdoptionStep {
	d := s.deployment
	label, labelled := d.Spec.Template.Labels[release.VersionLabel]
	return release.Adoption{
		Labelled: labelled, Done: label == s.version,
		Paused: d.Spec.Paused, Ours: s.ours(),
		PauseSeen: d.Status.ObservedGeneration >= d.Generation,
		Current:   s.current() != nil, Ready: s.ready() != nil,
		SetsLack: len(s.unlabelled()) > 0, SetsSeen: s.seen(),
	}.Next()
}

// seen reports whether kube-controller-manager knows every ReplicaSet as it is.
func (s state) seen() bool {
	return !slices.ContainsFunc(s.sets, func(set *appsv1.ReplicaSet) bool {
		return set.Status.ObservedGeneration < set.Generation
	})
}

// current is the ReplicaSet that equals the template as it is.
func (s state) current() *appsv1.ReplicaSet { return s.equal(&s.deployment.Spec.Template) }

// ready is the ReplicaSet that equals the template once that has the label.
func (s state) ready() *appsv1.ReplicaSet {
	labelled := s.deployment.Spec.Template.DeepCopy()
	if labelled.Labels == nil {
		labelled.Labels = map[string]string{}
	}
	labelled.Labels[release.VersionLabel] = s.version
	return s.equal(labelled)
}

// equal compares as the Deployment controller does: everything but the hash label.
func (s state) equal(template *corev1.PodTemplateSpec) *appsv1.ReplicaSet {
	want := template.DeepCopy()
	delete(want.Labels, appsv1.DefaultDeploymentUniqueLabelKey)
	for _, set := range s.sets {
		have := set.Spec.Template.DeepCopy()
		delete(have.Labels, appsv1.DefaultDeploymentUniqueLabelKey)
		if equality.Semantic.DeepEqual(have, want) {
			return set
		}
	}
	return nil
}

// unlabelled are the ReplicaSets that need the label, for the pods that they have or will make: the current one and all
// that are not scaled to zero.
func (s state) unlabelled() []*appsv1.ReplicaSet {
	return slices.DeleteFunc(slices.Clone(s.sets), func(set *appsv1.ReplicaSet) bool {
		_, labelled := set.Spec.Template.Labels[release.VersionLabel]
		return labelled || set != s.current() && (set.Spec.Replicas == nil || *set.Spec.Replicas == 0)
	})
}

// ours reports whether the pause is that of an adoption.
func (s state) ours() bool { return s.deployment.Annotations[intent.KeyHeld] == release.Adopting }

// begun is the version of a ReplicaSet that has the label before the template; empty where there is none.
func (s state) begun() string {
	for _, set := range s.sets {
		s.version = versionOf(set)
		if s.version != "" && s.current() == nil && s.ready() == set {
			return s.version
		}
	}
	return ""
}

// had reports whether a ReplicaSet is of the version already.
func (s state) had() bool {
	return slices.ContainsFunc(s.sets, func(set *appsv1.ReplicaSet) bool { return versionOf(set) == s.version })
}

func versionOf(set *appsv1.ReplicaSet) string { return set.Spec.Template.Labels[release.VersionLabel] }
