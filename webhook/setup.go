package webhook

import (
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"grayscale.dev/grayscale/routing"
)

// The paths of the handlers. In the webhook configurations each is followed by a secret, see package pathauth.
const (
	MutatePath   = "/mutate-apps-v1-deployment"
	ValidatePath = "/validate-apps-v1-deployment"
	DrainPath    = "/drain-apps-v1-deployment"
	PrecedePath  = "/precede-networking-v1-destinationrule"
	RetirePath   = "/retire"
)

// handlerPaths are the paths by the names that the webhooks have in the manifests.
var handlerPaths = map[string]string{
	"mutate.grayscale.dev":   MutatePath,
	"validate.grayscale.dev": ValidatePath,
	"drain.grayscale.dev":    DrainPath,
	"precede.grayscale.dev":  PrecedePath,
	"retire.grayscale.dev":   RetirePath,
}

// Handlers are the webhook's handlers, by path. They decide about Deployments from what the cluster is known to be.
func Handlers(controller Controller, known Cluster, settings routing.Settings) map[string]admission.Handler {
	n := admitter{known, settings}
	return map[string]admission.Handler{
		MutatePath: mutating{n}, ValidatePath: validating{n},
		DrainPath: draining{controller}, PrecedePath: preceding{controller}, RetirePath: retiring{controller},
	}
}

// Setup adds the handlers to the manager's webhook server, which NewServer has to have made. Every replica answers,
// whether it leads or not. Latency and number of requests are metrics of controller-runtime's webhook server
// (controller_runtime_webhook_latency_seconds, controller_runtime_webhook_requests_total).
//
// Facts around each Deployment are read from known: caches of the manager's, which have to be warm in every replica.
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
