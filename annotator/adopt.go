package annotator

import (
	"context"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// adopting is the value of grayscale.dev/held while an adoption is under way: the pause is ours and ends with it.
const adopting = "adopt"

// adopt gives the Deployment's template and its pods the version label without a restart: pause, label the current
// ReplicaSet's template and the pods, then, in one patch, label the Deployment's template and unpause. The Deployment
// controller finds the ReplicaSet equal to the template (kubernetes pkg/controller/deployment/util, FindNewReplicaSet) and
// rolls nothing. It reads from the API server, and each step starts from what is there, so it may be cut short anywhere.
func (r *reconciler) adopt(ctx context.Context, namespace string, m release.Member) error {
	d := &appsv1.Deployment{}
	if err := r.live.Get(ctx, types.NamespacedName{Namespace: namespace, Name: m.Deployment}, d); err != nil {
		return client.IgnoreNotFound(err)
	}
	var sets appsv1.ReplicaSetList
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return err
	}
	if err := r.live.List(ctx, &sets, client.InNamespace(namespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return err
	}
	if d.Spec.Template.Labels[release.VersionLabel] == m.Version {
		return r.labelPods(ctx, d, m.Version)
	}
	labelled := d.Spec.Template.DeepCopy()
	if labelled.Labels == nil {
		labelled.Labels = map[string]string{}
	}
	labelled.Labels[release.VersionLabel] = m.Version
	if owned(d, sets.Items, labelled) == nil {
		if current := owned(d, sets.Items, &d.Spec.Template); current != nil {
			if d, err = r.prepare(ctx, d, current, m.Version); err != nil {
				return err
			}
		}
	} // else a re-apply dropped the label: giving it back makes that ReplicaSet the current one again, at once
	if err := r.labelPods(ctx, d, m.Version); err != nil {
		return err
	}
	return r.labelTemplate(ctx, d, m.Version)
}

// owned finds the Deployment's ReplicaSet with the template, the hash label aside.
func owned(d *appsv1.Deployment, sets []appsv1.ReplicaSet, template *corev1.PodTemplateSpec) *appsv1.ReplicaSet {
	for i := range sets {
		if !metav1.IsControlledBy(&sets[i], d) {
			continue
		}
		t := sets[i].Spec.Template.DeepCopy()
		delete(t.Labels, appsv1.DefaultDeploymentUniqueLabelKey)
		if apiequality.Semantic.DeepEqual(t, template) {
			return &sets[i]
		}
	}
	return nil
}

// prepare pauses the Deployment, so that no rollout starts while its ReplicaSet's template differs from its own, and
// labels that template: pods born from now on carry the label.
func (r *reconciler) prepare(ctx context.Context, d *appsv1.Deployment, current *appsv1.ReplicaSet, version string) (*appsv1.Deployment, error) {
	if !d.Spec.Paused {
		if err := r.patchAt(ctx, d, object{"metadata": object{"resourceVersion": d.ResourceVersion, "annotations": object{intent.KeyHeld: adopting}},
			"spec": object{"paused": true}}); err != nil {
			return nil, fmt.Errorf("pausing: %w", err)
		}
	}
	return d, r.patchAt(ctx, current, object{"spec": object{"template": object{"metadata": object{"labels": object{release.VersionLabel: version}}}}})
}

// labelPods labels the Deployment's pods that lack the label, never those that carry another version.
func (r *reconciler) labelPods(ctx context.Context, d *appsv1.Deployment, version string) error {
	var pods corev1.PodList
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return err
	}
	if err := r.live.List(ctx, &pods, client.InNamespace(d.Namespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return err
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		if _, labelled := p.Labels[release.VersionLabel]; labelled || p.DeletionTimestamp != nil || deploymentOf(p) != d.Name {
			continue
		}
		change := object{"metadata": object{"labels": object{release.VersionLabel: version}}}
		if err := client.IgnoreNotFound(r.patchAt(ctx, p, change)); err != nil {
			return fmt.Errorf("pod %s: %w", p.Name, err)
		}
	}
	return nil
}

// labelTemplate ends the adoption. A pause that is not ours (the user's, or the webhook's hold) stays.
func (r *reconciler) labelTemplate(ctx context.Context, d *appsv1.Deployment, version string) error {
	metadata := object{"resourceVersion": d.ResourceVersion}
	spec := object{"template": object{"metadata": object{"labels": object{release.VersionLabel: version}}}}
	if d.Annotations[intent.KeyHeld] == adopting {
		metadata["annotations"] = object{intent.KeyHeld: nil}
		spec["paused"] = nil
	}
	return r.patchAt(ctx, d, object{"metadata": metadata, "spec": spec})
}

// patchAt merge-patches the object and takes over what the API server answers.
func (r *reconciler) patchAt(ctx context.Context, o client.Object, change object) error {
	raw, err := json.Marshal(change)
	if err != nil {
		return err
	}
	return r.cached.Patch(ctx, o, client.RawPatch(types.MergePatchType, raw), client.FieldOwner(routing.FieldManager))
}
