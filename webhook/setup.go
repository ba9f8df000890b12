package webhook

import (
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"grayscale.dev/grayscale/routing"
)

// The paths of the handlers. In the webhook configurations a secret follows each; see package pathauth.
const (
	MutatePath   = "/mutate-apps-v1-deployment"
	ValidatePath = "/validate-apps-v1-deployment"
	DrainPath    = "/drain-apps-v1-deployment"
	PrecedePath  = "/precede-networking-v1-destinationrule"
	RetirePath   = "/retire"
)

// handlerPaths are the paths by the names of the webhooks in the manifests.
var handlerPaths = map[string]string{
	"mutate.grayscale.dev":   MutatePath,
	"validate.grayscale.dev": ValidatePath,
	"drain.grayscale.dev":    DrainPath,
	"precede.grayscale.dev":  PrecedePath,
	"retire.grayscale.dev":   RetirePath,
}

// Handlers are the webhook's handlers, by path. They decide about Deployments from what is known about the cluster.
func Handlers(controller Controller, known Cluster, settings routing.Settings) map[string]admission.Handler {
	a := admitter{known, settings}
	return map[string]admission.Handler{
		MutatePath: mutating{a}, ValidatePath: validating{a},
		DrainPath: draining{controller}, PrecedePath: preceding{controller}, RetirePath: uninstalling{controller},
	}
}

// Setup adds the handlers to the manager's webhook server, which must come from NewServer. Every replica answers,
// whether it leads or not. controller-runtime's webhook server has metrics of the latency and the number of requests
// (controller_runtime_webhook_latency_seconds, controller_runtime_webhook_requests_total).
//
// The handlers read the facts around each Deployment from known, which must be filled on every replica.
func Setup(mgr manager.Manager, controller Controller, known Cluster, settings routing.Settings) error {
	server, ok := mgr.GetWebhookServer().(*Server)
	if !ok {
		return fmt.Errorf("the manager's webhook server is a %T, which answers anybody: it has to be made by NewServer",
			mgr.GetWebhookServer())
	}
	if err := server.auth.AddTo(mgr); err != nil {
		return err
	}
	register()
	for path, handler := range Handlers(controller, known, settings) {
		server.Register(path, &admission.Webhook{Handler: handler})
	}
	return nil
}
