package pathauth

import (
	"context"
	"crypto/rand"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"grayscale.dev/grayscale/routing"
)

// complete appends a secret to every path that has none, and returns the resulting configuration. The API server
// refuses the write where another client wrote in between, such as another replica with its own secret. complete then
// starts again from what that client wrote.
func (a *Auth) complete(ctx context.Context, kind client.Object) (client.Object, error) {
	for {
		configuration := kind.DeepCopyObject().(client.Object)
		err := a.reader.Get(ctx, types.NamespacedName{Name: a.options.Configuration}, configuration)
		if err != nil {
			return configuration, client.IgnoreNotFound(err) // an administrator may run the controller without webhooks
		}
		before := configuration.DeepCopyObject().(client.Object)
		if !a.addSecrets(configuration) {
			return configuration, nil
		}
		err = a.writer.Patch(ctx, configuration, client.StrategicMergeFrom(before, client.MergeFromWithOptimisticLock{}),
			client.FieldOwner(routing.FieldManager))
		if !apierrors.IsConflict(err) {
			return configuration, err
		}
	}
}

// addSecrets appends a secret to every path of a handler that has none, and reports whether there was such a path.
func (a *Auth) addSecrets(configuration client.Object) (missing bool) {
	for _, w := range webhooksOf(configuration) {
		if handler := a.handlerOf(w); handler != "" && !hasSecret(w.path(), handler) {
			path := handler + "/" + strings.ToLower(rand.Text()) // the API server accepts lower-case names only
			w.config.Service.Path, missing = &path, true
		}
	}
	return missing
}

// hasSecret reports whether a path is the handler's path with a secret.
func hasSecret(path, handler string) bool {
	secret, found := strings.CutPrefix(path, handler+"/")
	return found && secret != ""
}

// handlerOf is the path of the handler that a webhook calls: by the webhook's path, or else by its name. It is empty
// for webhooks that are not grayscale's.
func (a *Auth) handlerOf(w webhook) string {
	if w.config.Service == nil {
		return ""
	}
	for _, handler := range a.options.Handlers {
		if path := w.path(); path == handler || hasSecret(path, handler) {
			return handler
		}
	}
	return a.options.Handlers[w.name]
}

// webhook is one webhook of a configuration.
type webhook struct {
	name   string
	config *admissionregistrationv1.WebhookClientConfig
}

func (w webhook) path() string {
	if w.config.Service.Path == nil {
		return ""
	}
	return *w.config.Service.Path
}

func webhooksOf(configuration client.Object) []webhook {
	var out []webhook
	switch c := configuration.(type) {
	case *admissionregistrationv1.MutatingWebhookConfiguration:
		for i := range c.Webhooks {
			out = append(out, webhook{c.Webhooks[i].Name, &c.Webhooks[i].ClientConfig})
		}
	case *admissionregistrationv1.ValidatingWebhookConfiguration:
		for i := range c.Webhooks {
			out = append(out, webhook{c.Webhooks[i].Name, &c.Webhooks[i].ClientConfig})
		}
	}
	return out
}
