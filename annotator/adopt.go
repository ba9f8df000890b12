package annotator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// adoption is a Deployment that is to carry the version label, with its ReplicaSets, all read from the API server: no
// step may rest on a cache that lags behind.
type adoption struct {
	deployment *appsv1.Deployment
	sets       []*appsv1.ReplicaSet // the oldest first, as the Deployment controller looks through them
	version    string
}

// next is the step that the Deployment and its ReplicaSets are at.
func (a adoption) next() release.AdoptionStep {
	d := a.deployment
	label, labelled := d.Spec.Template.Labels[release.VersionLabel]
	return release.Adoption{
		Labelled: labelled, Done: label == a.version,
		Paused: d.Spec.Paused, Ours: d.Annotations[intent.KeyHeld] == release.Adopting,
		PauseSeen: d.Status.ObservedGeneration >= d.Generation,
		Current:   a.current() != nil, Ready: a.ready() != nil,
		SetsLack: len(a.toLabel()) > 0, SetsSeen: a.seen(),
	}.Next()
}

// seen reports whether kube-controller-manager knows every ReplicaSet as it is.
func (a adoption) seen() bool {
	return !slices.ContainsFunc(a.sets, func(s *appsv1.ReplicaSet) bool { return s.Status.ObservedGeneration < s.Generation })
}

// ready is the ReplicaSet that equals the template once that has the label.
func (a adoption) ready() *appsv1.ReplicaSet { return a.equal(a.labelled()) }

// current is the ReplicaSet that equals the template as it is.
func (a adoption) current() *appsv1.ReplicaSet { return a.equal(&a.deployment.Spec.Template) }

func (a adoption) labelled() *corev1.PodTemplateSpec {
	t := a.deployment.Spec.Template.DeepCopy()
	if t.Labels == nil {
		t.Labels = map[string]string{}
	}
	t.Labels[release.VersionLabel] = a.version
	return t
}

// equal compares as the Deployment controller does: all but the hash label.
func (a adoption) equal(template *corev1.PodTemplateSpec) *appsv1.ReplicaSet {
	want := template.DeepCopy()
	delete(want.Labels, appsv1.DefaultDeploymentUniqueLabelKey)
	for _, set := range a.sets {
		have := set.Spec.Template.DeepCopy()
		delete(have.Labels, appsv1.DefaultDeploymentUniqueLabelKey)
		if equality.Semantic.DeepEqual(have, want) {
			return set
		}
	}
	return nil
}

// toLabel are the ReplicaSets whose pods, or those born from now on, need the label: the current one and all that have pods.
func (a adoption) toLabel() []*appsv1.ReplicaSet {
	return slices.DeleteFunc(slices.Clone(a.sets), func(s *appsv1.ReplicaSet) bool {
		_, labelled := s.Spec.Template.Labels[release.VersionLabel]
		return labelled || s != a.current() && (s.Spec.Replicas == nil || *s.Spec.Replicas == 0)
	})
}

// had reports whether a ReplicaSet is of the version already.
func (a adoption) had() bool {
	return slices.ContainsFunc(a.sets, func(s *appsv1.ReplicaSet) bool { return carries(s) == a.version })
}

func carries(set *appsv1.ReplicaSet) string { return set.Spec.Template.Labels[release.VersionLabel] }

// repair labels the pods of a Deployment that had the label and lost it: with the webhook off, whoever replaces it starts a
// rollout of pods that no subset knows, which ends with the last pod that one does.
func (a *acting) repair(ctx context.Context, m release.Member) error {
	x, err := a.readAdoption(ctx, m)
	if err != nil || !x.had() {
		return err
	}
	return a.labelPods(ctx, x)
}

// adopt gives the Deployment's template and its pods the version label without a restart. Pods of a ReplicaSet of another
// version keep that.
func (a *acting) adopt(ctx context.Context, m release.Member) error {
	x, err := a.readAdoption(ctx, m)
	if err != nil || x.deployment.DeletionTimestamp != nil {
		return err
	}
	return a.advance(ctx, x)
}

func (a *acting) advance(ctx context.Context, x adoption) error {
	step := x.next()
	if step == release.Pause {
		if err := a.pause(ctx, x.deployment); err != nil {
			return fmt.Errorf("pausing: %w", err)
		}
		step = x.next()
	}
	if step == release.LabelSets {
		for _, set := range x.toLabel() {
			if err := a.merge(ctx, set, templateLabel(x.version).at(set.ResourceVersion)); err != nil {
				return fmt.Errorf("ReplicaSet %s: %w", set.Name, err)
			}
		}
		step = x.next()
	}
	if step == release.AwaitPause {
		return fmt.Errorf("the Deployment controller has not seen the pause: %w", errNotYet)
	}
	if err := a.labelPods(ctx, x); err != nil {
		return err
	}
	switch step {
	case release.AwaitSets:
		return fmt.Errorf("kube-controller-manager has not seen the ReplicaSet's label: %w", errNotYet)
	case release.LabelTemplate:
		if err := a.labelTemplate(ctx, x); err != nil {
			return fmt.Errorf("template: %w", err)
		}
	}
	a.note("labelled %s with version %s", x.deployment.Name, x.version)
	return nil
}

func (a *acting) readAdoption(ctx context.Context, m release.Member) (adoption, error) {
	x := adoption{deployment: &appsv1.Deployment{}, version: m.Version}
	if err := a.live.Get(ctx, types.NamespacedName{Namespace: a.key.Namespace, Name: m.Deployment}, x.deployment); err != nil {
		return x, err
	}
	a.known[m.Deployment] = x.deployment
	selector, err := metav1.LabelSelectorAsSelector(x.deployment.Spec.Selector)
	if err != nil {
		return x, err
	}
	var list appsv1.ReplicaSetList
	if err := a.live.List(ctx, &list, client.InNamespace(a.key.Namespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return x, err
	}
	for i := range list.Items {
		if metav1.IsControlledBy(&list.Items[i], x.deployment) {
			x.sets = append(x.sets, &list.Items[i])
		}
	}
	slices.SortFunc(x.sets, func(a, b *appsv1.ReplicaSet) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	return x, nil
}

// pause is marked as ours in the same write, so that a crash right after it still ends it. Nobody would end it once
// grayscale is uninstalled.
func (a *acting) pause(ctx context.Context, d *appsv1.Deployment) error {
	if retired, err := a.retired(ctx); err != nil || retired {
		return errors.Join(err, errRetired)
	}
	change := object{"metadata": object{"annotations": object{intent.KeyHeld: release.Adopting}}, "spec": object{"paused": true}}
	if err := a.merge(ctx, d, change.at(d.ResourceVersion)); err != nil {
		return err
	}
	a.wroteDeployment(d)
	return nil
}

func templateLabel(version string) object {
	return object{"spec": object{"template": object{"metadata": object{"labels": object{release.VersionLabel: version}}}}}
}

// labelTemplate ends the adoption. A pause that is not ours, be it the user's or the webhook's hold, stays.
func (a *acting) labelTemplate(ctx context.Context, x adoption) error {
	d, change := x.deployment, templateLabel(x.version)
	if d.Annotations[intent.KeyHeld] == release.Adopting {
		change["metadata"] = object{"annotations": object{intent.KeyHeld: nil}}
		change["spec"].(object)["paused"] = nil
		a.unpaused[d.Name] = true
	}
	if err := a.merge(ctx, d, change.at(d.ResourceVersion)); err != nil {
		return err
	}
	a.wroteDeployment(d)
	return nil
}

// labelPods gives the pods of the Deployment's ReplicaSets their ReplicaSet's version, or, where that has none and they
// neither, the adoption's; terminating ones as well: Envoy keeps a pod in its subset for as long as it may still serve.
func (a *acting) labelPods(ctx context.Context, x adoption) error {
	selector, err := metav1.LabelSelectorAsSelector(x.deployment.Spec.Selector)
	if err != nil {
		return err
	}
	var pods corev1.PodList
	if err := a.live.List(ctx, &pods, client.InNamespace(a.key.Namespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return err
	}
	var writes []func(context.Context) error
	for i := range pods.Items {
		p := &pods.Items[i]
		of := slices.IndexFunc(x.sets, func(s *appsv1.ReplicaSet) bool { return metav1.IsControlledBy(p, s) })
		if of < 0 {
			continue
		}
		is := p.Labels[release.VersionLabel]
		version := cmp.Or(carries(x.sets[of]), is, x.version)
		if is == version {
			continue
		}
		writes = append(writes, func(ctx context.Context) error {
			// At any resourceVersion: the status of a pod that starts changes all the time, and no other pod will have its name.
			change := object{"metadata": object{"labels": object{release.VersionLabel: version}}}
			if err := a.merge(ctx, p, change); client.IgnoreNotFound(err) != nil {
				return fmt.Errorf("pod %s: %w", p.Name, err)
			}
			return nil
		})
	}
	return atOnce(ctx, a.atOnce, writes)
}

// lift ends a hold. Where it is that of an adoption that is not wanted any more but has labelled the ReplicaSet already,
// the adoption is finished instead: unpausing alone would restart every pod.
func (a *acting) lift(ctx context.Context, name string) error {
	seen := a.seen.Deployments[name]
	if seen == nil || a.unpaused[name] {
		return nil
	}
	if seen.Annotations[intent.KeyHeld] == release.Adopting {
		return a.endAdoption(ctx, name)
	}
	change := object{"metadata": object{"annotations": object{intent.KeyHeld: nil}}, "spec": object{"paused": nil}}
	if err := a.patchDeployment(ctx, name, change); err != nil {
		return err
	}
	a.metrics.lifted()
	a.note("lifted the hold of %s", name)
	return nil
}

func (a *acting) endAdoption(ctx context.Context, name string) error {
	x, err := a.readAdoption(ctx, release.Member{Deployment: name})
	if err != nil {
		return err
	}
	for _, set := range x.sets {
		x.version = carries(set)
		if x.version != "" && x.current() == nil && x.ready() == set {
			return a.advance(ctx, x)
		}
	}
	change := object{"metadata": object{"annotations": object{intent.KeyHeld: nil}}, "spec": object{"paused": nil}}
	return a.patchDeployment(ctx, name, change)
}
