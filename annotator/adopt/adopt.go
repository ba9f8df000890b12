// Package adopt is the label protocol: it gives the pods of a running Deployment, and those to come, the version label
// without a restart, and ends the holds of Deployments. What to label, and when, is routing's to say; the order of the
// steps is release.Adoption's.
//
// Each step starts from what the API server has, so that a crash between any two of them resumes. Nothing here waits or
// starts a goroutine: where somebody else has to see a step first, ErrNotYet says so.
package adopt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

var (
	// ErrNotYet says that a controller of Kubernetes has to see the last step before the next one can be taken.
	ErrNotYet = errors.New("not yet")
	// ErrUninstalling says that no adoption begins while grayscale is being uninstalled.
	ErrUninstalling = errors.New("grayscale is being uninstalled")
)

// Adopter labels Deployments, and lifts their holds, for one decision.
type Adopter struct {
	*Deployments
	// Uninstalling reports whether grayscale is being uninstalled.
	Uninstalling func(context.Context) (bool, error)
	// Send makes requests that depend on nothing of each other, and returns the first error.
	Send func(ctx context.Context, requests []func(context.Context) error) error
	// Note is told what has been done.
	Note func(format string, args ...any)

	// resumed are the Deployments whose adoption has just ended, and their pause with it.
	resumed map[string]bool
}

// Relabel labels the pods of a Deployment that had the label and lost it. With the webhook off, a replaced Deployment
// starts a rollout of pods that no subset knows, which ends with the last pod that one does.
func (a *Adopter) Relabel(ctx context.Context, m release.Member) error {
	s, err := a.read(ctx, m)
	if err != nil || !s.had() {
		return err
	}
	return a.labelPods(ctx, s)
}

// Label gives the Deployment's template, ReplicaSets and pods the version label. Pods of a ReplicaSet of another
// version keep that. An adoption that has begun goes on with its own version.
func (a *Adopter) Label(ctx context.Context, m release.Member) error {
	s, err := a.read(ctx, m)
	if err != nil || s.deployment.DeletionTimestamp != nil {
		return err
	}
	if s.ours() {
		s.version = cmp.Or(s.begun(), s.version)
	}
	return a.advance(ctx, s)
}

// Lift ends the hold of a Deployment, and reports whether it was the webhook's. An adoption that is not wanted any more
// is finished with the version. To resume alone would restart every pod where a ReplicaSet has the label, or gets it
// from a replica that led before. While grayscale is being uninstalled no replica adopts, and there is no version.
func (a *Adopter) Lift(ctx context.Context, seen *appsv1.Deployment, version string) (bool, error) {
	switch {
	case a.resumed[seen.Name]:
		return false, nil
	case seen.Annotations[intent.KeyHeld] == release.Adopting:
		return false, a.finish(ctx, release.Member{Deployment: seen.Name, Version: version})
	}
	if err := a.Patch(ctx, seen.Name, resume()); err != nil {
		return false, err
	}
	a.Note("lifted the hold of %s", seen.Name)
	return true, nil
}

// resume is the end of a hold or of a pause of ours.
func resume() Patch {
	return Patch{"metadata": Patch{"annotations": Patch{intent.KeyHeld: nil}}, "spec": Patch{"paused": nil}}
}

// finish ends an adoption that is not wanted any more.
func (a *Adopter) finish(ctx context.Context, m release.Member) error {
	s, err := a.read(ctx, m)
	if err != nil || !s.ours() {
		return err
	}
	if s.version = cmp.Or(s.begun(), s.version); s.version == "" {
		return a.Patch(ctx, m.Deployment, resume())
	}
	return a.advance(ctx, s)
}

// read reads a Deployment and its ReplicaSets from the API server.
func (a *Adopter) read(ctx context.Context, m release.Member) (state, error) {
	d, err := a.Read(ctx, m.Deployment)
	s := state{deployment: d, version: m.Version}
	if err != nil {
		return s, err
	}
	var list appsv1.ReplicaSetList
	if err := a.list(ctx, d, &list); err != nil {
		return s, err
	}
	for i := range list.Items {
		if metav1.IsControlledBy(&list.Items[i], d) {
			s.sets = append(s.sets, &list.Items[i])
		}
	}
	slices.SortFunc(s.sets, func(a, b *appsv1.ReplicaSet) int {
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	})
	return s, nil
}

// list reads what the Deployment's selector matches.
func (a *Adopter) list(ctx context.Context, d *appsv1.Deployment, into client.ObjectList) error {
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return err
	}
	return a.Live.List(ctx, into, client.InNamespace(d.Namespace), client.MatchingLabelsSelector{Selector: selector})
}

// advance takes as many steps as can be taken now.
func (a *Adopter) advance(ctx context.Context, s state) error {
	step := s.next()
	if step == release.Pause {
		if err := a.pause(ctx, s.deployment); err != nil {
			return fmt.Errorf("pausing: %w", err)
		}
		step = s.next()
	}
	if step == release.LabelSets {
		for _, set := range s.unlabelled() {
			if err := Merge(ctx, a.Client, set, templateLabel(s.version).At(set.ResourceVersion)); err != nil {
				return fmt.Errorf("ReplicaSet %s: %w", set.Name, err)
			}
		}
		step = s.next()
	}
	if step == release.AwaitPause {
		return fmt.Errorf("the Deployment controller has not seen the pause: %w", ErrNotYet)
	}
	if err := a.labelPods(ctx, s); err != nil {
		return err
	}
	switch step {
	case release.AwaitSets:
		return fmt.Errorf("kube-controller-manager has not seen the ReplicaSet's label: %w", ErrNotYet)
	case release.LabelTemplate:
		if err := a.labelTemplate(ctx, s); err != nil {
			return fmt.Errorf("template: %w", err)
		}
	}
	a.Note("labelled %s with version %s", s.deployment.Name, s.version)
	return nil
}

// pause marks the pause as ours in the same write, so that a crash right after it still ends it. Nobody would end it
// once grayscale is uninstalled.
func (a *Adopter) pause(ctx context.Context, d *appsv1.Deployment) error {
	if uninstalling, err := a.Uninstalling(ctx); err != nil || uninstalling {
		return errors.Join(err, ErrUninstalling)
	}
	ours := Patch{"annotations": Patch{intent.KeyHeld: release.Adopting}}
	return a.write(ctx, d, Patch{"metadata": ours, "spec": Patch{"paused": true}})
}

func templateLabel(version string) Patch {
	return Patch{"spec": Patch{"template": Patch{"metadata": Patch{"labels": Patch{release.VersionLabel: version}}}}}
}

// labelTemplate ends the adoption. A pause that is not ours stays: the user's, or the webhook's hold.
func (a *Adopter) labelTemplate(ctx context.Context, s state) error {
	d, change := s.deployment, templateLabel(s.version)
	if s.ours() {
		change["metadata"] = Patch{"annotations": Patch{intent.KeyHeld: nil}}
		change["spec"].(Patch)["paused"] = nil
		if a.resumed == nil {
			a.resumed = map[string]bool{}
		}
		a.resumed[d.Name] = true
	}
	return a.write(ctx, d, change)
}

// labelPods gives each pod its ReplicaSet's version, or, where that has none and the pod neither, the adoption's.
// Terminating pods count: Envoy keeps a pod in its subset for as long as it may still serve.
func (a *Adopter) labelPods(ctx context.Context, s state) error {
	var pods corev1.PodList
	if err := a.list(ctx, s.deployment, &pods); err != nil {
		return err
	}
	var writes []func(context.Context) error
	for i := range pods.Items {
		p := &pods.Items[i]
		owner := slices.IndexFunc(s.sets, func(set *appsv1.ReplicaSet) bool { return metav1.IsControlledBy(p, set) })
		if owner < 0 {
			continue
		}
		has := p.Labels[release.VersionLabel]
		if version := cmp.Or(versionOf(s.sets[owner]), has, s.version); has != version {
			writes = append(writes, func(ctx context.Context) error { return a.labelPod(ctx, p, version) })
		}
	}
	return a.Send(ctx, writes)
}

// labelPod patches any version of the pod: the status of one that starts changes all the time, and no other pod will
// have its name.
func (a *Adopter) labelPod(ctx context.Context, p *corev1.Pod, version string) error {
	change := Patch{"metadata": Patch{"labels": Patch{release.VersionLabel: version}}}
	if err := Merge(ctx, a.Client, p, change); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("pod %s: %w", p.Name, err)
	}
	return nil
}
