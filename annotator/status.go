package annotator

import (
	"context"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applyappsv1 "k8s.io/client-go/applyconfigurations/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/release"
)

// status applies exactly those of our conditions that the Deployment should have. Server-side apply removes those of
// ours that are no longer named, and keeps those of the Deployment controller.
func (a *acting) status(ctx context.Context, s routing.Status) error {
	seen := a.seen.Deployments[s.Deployment]
	if seen == nil {
		return nil
	}
	now := metav1.NewTime(a.seen.Facts.Now)
	status := applyappsv1.DeploymentStatus()
	var said []string
	for _, c := range s.Conditions {
		status.WithConditions(applyappsv1.DeploymentCondition().WithType(appsv1.DeploymentConditionType(c.Type)).
			WithStatus(corev1.ConditionStatus(c.Status)).WithReason(c.Reason).WithMessage(c.Message).
			WithLastUpdateTime(now).WithLastTransitionTime(since(seen, c, now)))
		said = append(said, c.Type+"="+c.Status+" "+c.Reason)
	}
	apply := applyappsv1.Deployment(seen.Name, seen.Namespace).WithUID(seen.UID).WithStatus(status)
	err := a.Client.Status().Apply(ctx, apply, client.FieldOwner(routing.FieldManager), client.ForceOwnership)
	if err != nil {
		return err
	}
	if apply.ResourceVersion != nil {
		left := a.adopter.Known[seen.Name].DeepCopy()
		left.ResourceVersion = *apply.ResourceVersion
		a.adopter.Wrote(left)
	}
	if len(said) == 0 {
		said = append(said, "no conditions")
	}
	a.note("%s has %s", s.Deployment, strings.Join(said, ", "))
	return nil
}

// since is when a condition got its current status.
func since(d *appsv1.Deployment, c release.Condition, now metav1.Time) metav1.Time {
	for _, is := range d.Status.Conditions {
		if string(is.Type) == c.Type && string(is.Status) == c.Status && !is.LastTransitionTime.IsZero() {
			return is.LastTransitionTime
		}
	}
	return now
}
