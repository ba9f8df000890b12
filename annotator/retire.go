package annotator

import (
	"context"
	"errors"
	"fmt"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/routing/intent"
)

// adoptionLimit is how long adoptions that have begun are given to end by themselves; they take a few hundred milliseconds.
const adoptionLimit = time.Second

// errRetired is met by adoptions that would begin while grayscale is being uninstalled.
var errRetired = errors.New("grayscale is being uninstalled")

// Retire leaves nothing behind that only grayscale could end: no Deployment is held from now on, and every hold and pause
// of ours is lifted. Routes stay as they are. The mutating webhook configuration without webhooks is the sign that every
// replica goes by; installing again fills it.
func (c *Controller) Retire(ctx context.Context) error {
	if err := c.r.closeDoor(ctx); err != nil {
		return err
	}
	if err := c.r.clock.Sleep(ctx, adoptionLimit); err != nil {
		return err
	}
	var failed []error
	for _, o := range c.r.store.ListDeployments(observe.Participants, observe.Everywhere) {
		if _, held := o.Annotations[intent.KeyHeld]; !held {
			continue
		}
		if err := c.r.release(ctx, o); client.IgnoreNotFound(err) != nil {
			failed = append(failed, fmt.Errorf("Deployment %s/%s: %w", o.Namespace, o.Name, err))
		}
	}
	return errors.Join(failed...)
}

// closeDoor takes the webhooks out of the mutating configuration, which is the one that holds.
func (r *reconciler) closeDoor(ctx context.Context) error {
	c := &admissionregistrationv1.MutatingWebhookConfiguration{}
	c.Name = r.configuration
	return client.IgnoreNotFound(r.merge(ctx, c, object{"webhooks": []any{}}))
}

// retired reports whether Retire has been called, by whichever replica. Without a configuration grayscale runs without its
// webhook, as an administrator may choose.
func (r *reconciler) retired(ctx context.Context) (bool, error) {
	c := &admissionregistrationv1.MutatingWebhookConfiguration{}
	err := r.live.Get(ctx, types.NamespacedName{Name: r.configuration}, c)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil && len(c.Webhooks) == 0, err
}

// release lifts one hold, and tries again where somebody else wrote in between.
func (r *reconciler) release(ctx context.Context, o *appsv1.Deployment) error {
	a := r.acting(ctx, types.NamespacedName{Namespace: o.Namespace}, observe.Observation{Deployments: map[string]*appsv1.Deployment{o.Name: o}})
	for {
		err := a.lift(ctx, o.Name)
		if err == nil {
			ctrl.LoggerFrom(ctx).Info("lifted a hold, because grayscale is being uninstalled", "deployment", o.Namespace+"/"+o.Name)
		}
		if !apierrors.IsConflict(err) {
			return err
		}
		current := &appsv1.Deployment{}
		if err := r.live.Get(ctx, client.ObjectKeyFromObject(o), current); err != nil {
			return err
		}
		a.seen.Deployments[o.Name], a.known[o.Name] = current, current
	}
}
