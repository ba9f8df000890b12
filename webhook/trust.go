package webhook

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

// configurations are the webhook configurations, as far as they exist: an administrator may run the controller without.
func (k *keeper) configurations(ctx context.Context) ([]client.Object, error) {
	var out []client.Object
	// The mutating one first: where the validating webhook answers, the other is known to answer as well.
	for _, c := range []client.Object{&admissionregistrationv1.MutatingWebhookConfiguration{}, &admissionregistrationv1.ValidatingWebhookConfiguration{}} {
		switch err := k.cache.Get(ctx, types.NamespacedName{Name: k.options.Configuration}, c); {
		case err == nil:
			out = append(out, c)
		case client.IgnoreNotFound(err) != nil:
			return nil, fmt.Errorf("%T %s: %w", c, k.options.Configuration, err)
		}
	}
	return out, nil
}

// trust gives the Secret's CAs to every webhook of the configurations, and reports whether any of them lacked one or had
// one too many.
func (k *keeper) trust(ctx context.Context, secret *corev1.Secret, configurations []client.Object) (wrote bool, err error) {
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
		if newest, err := k.newest(ctx, secret); !newest || err != nil {
			return true, err
		}
		// A strategic merge patch names the webhooks: what else is in the list is left alone. The lock keeps a replica that
		// is behind from taking back what another has written since.
		patch := client.StrategicMergeFrom(before, client.MergeFromWithOptimisticLock{})
		if err := k.writer.Patch(ctx, c, patch, client.FieldOwner(routing.FieldManager)); err != nil {
			return true, fmt.Errorf("%T %s: %w", c, c.GetName(), err)
		}
		wrote = true
	}
	return wrote, nil
}

// newest reports whether the Secret is what the API server has now. Where it is not, the watch tells of it in a moment.
func (k *keeper) newest(ctx context.Context, secret *corev1.Secret) (bool, error) {
	now := &corev1.Secret{}
	err := k.live.Get(ctx, client.ObjectKeyFromObject(secret), now)
	return err == nil && now.UID == secret.UID && now.ResourceVersion == secret.ResourceVersion, client.IgnoreNotFound(err)
}

// inUse reports whether there is a webhook that the API server might ask.
func inUse(configurations []client.Object) bool {
	return slices.ContainsFunc(configurations, func(c client.Object) bool { return len(clientConfigs(c)) > 0 })
}

// retired reports whether the end of grayscale has been asked for: the mutating configuration has no webhooks then, until it
// goes itself. Who deletes everything at once, as Argo CD does, deletes it before the other one, or after the Secret.
func retired(configurations []client.Object, before bool) bool {
	for _, c := range configurations {
		if c, ok := c.(*admissionregistrationv1.MutatingWebhookConfiguration); ok {
			return len(c.Webhooks) == 0
		}
	}
	return before
}

// trustedByAll reports whether every webhook of the configurations has the CA.
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

// trustedByAny are the CAs that some webhook of the configurations has.
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
