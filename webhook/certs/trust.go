package certs

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"slices"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"grayscale.dev/grayscale/routing"
)

// configurations are the webhook configurations that exist. An administrator may run the controller without them.
func (r *reconciler) configurations(ctx context.Context) ([]client.Object, error) {
	var out []client.Object
	// The mutating one comes first, so that a validating webhook that answers shows that the mutating one does as well.
	for _, c := range []client.Object{
		&admissionregistrationv1.MutatingWebhookConfiguration{}, &admissionregistrationv1.ValidatingWebhookConfiguration{},
	} {
		switch err := r.cache.Get(ctx, types.NamespacedName{Name: r.options.Configuration}, c); {
		case err == nil:
			out = append(out, c)
		case client.IgnoreNotFound(err) != nil:
			return nil, fmt.Errorf("%T %s: %w", c, r.options.Configuration, err)
		}
	}
	return out, nil
}

// trust writes the Secret's CAs to all webhooks of the configurations, and reports whether any of them had others.
func (r *reconciler) trust(
	ctx context.Context, secret *corev1.Secret, configurations []client.Object,
) (wrote bool, err error) {
	bundle := secret.Data[caKey]
	for _, c := range configurations {
		before := c.DeepCopyObject().(client.Object)
		differs := false
		for _, to := range clientConfigs(c) {
			differs = differs || !bytes.Equal(to.CABundle, bundle)
			to.CABundle = bundle
		}
		if !differs {
			continue
		}
		if newest, err := r.isNewest(ctx, secret); !newest || err != nil {
			return true, err
		}
		// A strategic merge patch names webhooks, and does not change the others in the list. The lock prevents that a
		// replica that is behind undoes what another one has written since.
		patch := client.StrategicMergeFrom(before, client.MergeFromWithOptimisticLock{})
		if err := r.writer.Patch(ctx, c, patch, client.FieldOwner(routing.FieldManager)); err != nil {
			return true, fmt.Errorf("%T %s: %w", c, c.GetName(), err)
		}
		wrote = true
	}
	return wrote, nil
}

// isNewest reports whether the Secret is what the API server has now. If it is not, the watch will soon report that.
func (r *reconciler) isNewest(ctx context.Context, secret *corev1.Secret) (bool, error) {
	now := &corev1.Secret{}
	err := r.live.Get(ctx, client.ObjectKeyFromObject(secret), now)
	same := now.UID == secret.UID && now.ResourceVersion == secret.ResourceVersion
	return err == nil && same, client.IgnoreNotFound(err)
}

// inUse reports whether there is any webhook that the API server may call.
func inUse(configurations []client.Object) bool {
	return slices.ContainsFunc(configurations, func(c client.Object) bool { return len(clientConfigs(c)) > 0 })
}

// uninstalling reports whether grayscale is being uninstalled. The sign is a mutating configuration without webhooks.
// Once that is deleted, the answer from before stands: tools that delete everything at once, such as Argo CD, delete it
// before the validating one, or after the Secret.
func uninstalling(configurations []client.Object, before bool) bool {
	for _, c := range configurations {
		if c, ok := c.(*admissionregistrationv1.MutatingWebhookConfiguration); ok {
			return len(c.Webhooks) == 0
		}
	}
	return before
}

// trustedByAll reports whether all webhooks of the configurations have the CA.
func trustedByAll(configurations []client.Object, ca *x509.Certificate) bool {
	for _, c := range configurations {
		for _, to := range clientConfigs(c) {
			if !contains(readBundle(to.CABundle), ca) {
				return false
			}
		}
	}
	return true
}

// trustedByAny are the CAs that any webhook of the configurations has.
func trustedByAny(configurations []client.Object) []*x509.Certificate {
	var out []*x509.Certificate
	for _, c := range configurations {
		for _, to := range clientConfigs(c) {
			out = slices.Concat(out, readBundle(to.CABundle))
		}
	}
	return out
}

func clientConfigs(configuration client.Object) []*admissionregistrationv1.WebhookClientConfig {
	var out []*admissionregistrationv1.WebhookClientConfig
	switch c := configuration.(type) {
	case *admissionregistrationv1.MutatingWebhookConfiguration:
		for i := range c.Webhooks {
			out = append(out, &c.Webhooks[i].ClientConfig)
		}
	case *admissionregistrationv1.ValidatingWebhookConfiguration:
		for i := range c.Webhooks {
			out = append(out, &c.Webhooks[i].ClientConfig)
		}
	}
	return out
}
