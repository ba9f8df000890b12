package webhook

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// The paths at which the webhook configurations reach the handlers.
const (
	MutatePath   = "/mutate-apps-v1-deployment"
	ValidatePath = "/validate-apps-v1-deployment"
	DrainPath    = "/drain-apps-v1-deployment"
	RetirePath   = "/retire"
)

// Setup adds the handlers to the manager's webhook server, and to the manager what keeps the server's certificate. Every
// replica answers, whether it leads or not. The latency and the number of requests are metrics of controller-runtime's
// webhook server (controller_runtime_webhook_latency_seconds, controller_runtime_webhook_requests_total).
func Setup(mgr manager.Manager, certificate Certificate, controller Controller) error {
	for _, o := range []client.Object{&corev1.Service{}, &appsv1.Deployment{}} {
		// A replica that does not lead has no controller that would fill these; they sync before the certificate is read.
		if _, err := mgr.GetCache().GetInformer(context.Background(), o, cache.BlockUntilSynced(false)); err != nil {
			return fmt.Errorf("watching %T: %w", o, err)
		}
	}
	register()
	n := neighbours{reader: mgr.GetCache()}
	mgr.GetWebhookServer().Register(MutatePath, &admission.Webhook{Handler: mutating{n}})
	mgr.GetWebhookServer().Register(ValidatePath, &admission.Webhook{Handler: validating{n}})
	mgr.GetWebhookServer().Register(DrainPath, &admission.Webhook{Handler: draining{controller}})
	mgr.GetWebhookServer().Register(RetirePath, &admission.Webhook{Handler: retiring{controller}})
	if err := certificate.addTo(mgr); err != nil {
		return fmt.Errorf("the certificate: %w", err)
	}
	return nil
}
