package annotator

import (
	"context"
	"errors"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"grayscale.dev/grayscale/annotator/adopt"
	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// adoptionLimit is how long adoptions that have begun are given to end by themselves; they take a few hundred
// milliseconds.
const adoptionLimit = time.Second

// PrepareUninstall leaves nothing behind that only grayscale could end: no Deployment is held from now on, and every
// hold and pause of ours is lifted. Routes stay as they are. A mutating webhook configuration without webhooks is the
// sign that every replica goes by; installing again fills it.
func (c *Controller) PrepareUninstall(ctx context.Context) error {
	if err := c.removeWebhooks(ctx); err != nil {
		return err
	}
	if err := c.Clock.Sleep(ctx, adoptionLimit); err != nil {
		return err
	}
	var failed []error
	for _, d := range c.Reader.ListDeployments(observe.Participants, observe.Everywhere) {
		if _, held := d.Annotations[intent.KeyHeld]; !held {
			continue
		}
		if err := c.liftForUninstall(ctx, d); client.IgnoreNotFound(err) != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// removeWebhooks takes the webhooks out of the mutating configuration, which is the one that holds.
func (c *Controller) removeWebhooks(ctx context.Context) error {
	configuration := &admissionregistrationv1.MutatingWebhookConfiguration{}
	configuration.Name = c.Configuration
	return client.IgnoreNotFound(adopt.Merge(ctx, c.Client, configuration, adopt.Patch{"webhooks": []any{}}))
}

// uninstalling reports whether any replica has removed the webhooks. Without a configuration grayscale runs without its
// webhook, as an administrator may choose.
func (c *Controller) uninstalling(ctx context.Context) (bool, error) {
	configuration := &admissionregistrationv1.MutatingWebhookConfiguration{}
	err := c.Live.Get(ctx, types.NamespacedName{Name: c.Configuration}, configuration)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil && len(configuration.Webhooks) == 0, err
}

// liftForUninstall lifts one hold, and tries again where somebody else wrote in between.
func (c *Controller) liftForUninstall(ctx context.Context, d *appsv1.Deployment) error {
	key := types.NamespacedName{Namespace: d.Namespace}
	a := c.acting(ctx, key, observe.Observation{Deployments: map[string]*appsv1.Deployment{d.Name: d}})
	for {
		err := a.lift(release.Member{Deployment: d.Name})
		if err == nil {
			ctrl.LoggerFrom(ctx).Info("lifted a hold, because grayscale is being uninstalled",
				"deployment", d.Namespace+"/"+d.Name)
		}
		if !apierrors.IsConflict(err) {
			return err
		}
		if a.seen.Deployments[d.Name], err = a.adopter.Read(ctx, d.Name); err != nil {
			return err
		}
	}
}
