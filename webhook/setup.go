package webhook

import (
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"grayscale.dev/grayscale/routing"
)

// The paths of the handlers. The webhook configurations have a secret behind each, see gate.
const (
	MutatePath   = "/mutate-apps-v1-deployment"
	ValidatePath = "/validate-apps-v1-deployment"
	DrainPath    = "/drain-apps-v1-deployment"
	PrecedePath  = "/precede-networking-v1-destinationrule"
	RetirePath   = "/retire"
)

// Setup adds the handlers to the manager's webhook server, and to the manager what keeps the server's certificate. Every
// replica answers, whether it leads or not. The latency and the number of requests are metrics of controller-runtime's
// webhook server (controller_runtime_webhook_latency_seconds, controller_runtime_webhook_requests_total).
//
// known is read around each Deployment: caches of the manager's, which have to be warm in every replica.
func Setup(mgr manager.Manager, certificate Certificate, controller Controller, known Cluster, settings routing.Settings) error {
	server, ok := mgr.GetWebhookServer().(*Server)
	if !ok {
		return fmt.Errorf("the manager's webhook server is a %T, which answers anybody: it has to be made by NewServer", mgr.GetWebhookServer())
	}
	if err := server.keptWith(mgr); err != nil {
		return err
	}
	register()
	n := neighbours{known, settings}
	mgr.GetWebhookServer().Register(MutatePath, &admission.Webhook{Handler: mutating{n}})
	mgr.GetWebhookServer().Register(ValidatePath, &admission.Webhook{Handler: validating{n}})
	mgr.GetWebhookServer().Register(DrainPath, &admission.Webhook{Handler: draining{controller}})
	mgr.GetWebhookServer().Register(PrecedePath, &admission.Webhook{Handler: preceding{controller}})
	mgr.GetWebhookServer().Register(RetirePath, &admission.Webhook{Handler: retiring{controller}})
	if err := certificate.addTo(mgr); err != nil {
		return fmt.Errorf("the certificate: %w", err)
	}
	return nil
}
