package webhook

import (
	"context"
	"fmt"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"grayscale.dev/grayscale/routing/release"
)

// drainPatience is how long a deletion waits for its traffic to go, at most. It ends before timeoutSeconds of the webhook
// configuration, so that the one who deletes is told.
const drainPatience = 5 * time.Second

// retirePatience is the same for the end of grayscale.
const retirePatience = 9 * time.Second

// Controller is what the webhook has done before it answers.
type Controller interface {
	// Drain moves the traffic away from a Deployment whose pods are about to go. It returns once no Envoy sends it anything
	// any more, at once where none does, and with an error where that could not be reached before ctx ended.
	Drain(ctx context.Context, namespace, name string) error
	// Precede has the routes lead clients past the subsets that a DestinationRule will take from them: before it is created
	// (before is nil), changed, or deleted (after is nil). It returns once every Envoy has been told, at once where it takes
	// nothing from anybody, and with an error where that could not be reached before ctx ended.
	Precede(ctx context.Context, before, after *networkingv1.DestinationRule) error
	// Retire ends every hold and makes sure that none begins: grayscale is being uninstalled.
	Retire(ctx context.Context) error
}

// draining answers questions about the end of a Deployment: its deletion, or its scaling to zero by whichever resource. It
// never refuses; the answer alone is late.
type draining struct{ Controller }

// Handle lets the end pass once the traffic has gone.
func (h draining) Handle(ctx context.Context, req admission.Request) admission.Response {
	response := admission.Allowed("")
	if dryRun(req) {
		return response
	}
	name := req.Name
	if name == "" { // so it is where a collection or a namespace is deleted
		name = read(req.OldObject.Raw).Name
	}
	ctx, cancel := context.WithTimeout(ctx, drainPatience)
	defer cancel()
	if err := h.Drain(ctx, req.Namespace, name); err != nil {
		loggerFor(ctx, req).Info("gave up moving traffic before an end", "deployment", req.Namespace+"/"+name, "why", err.Error())
		return response.WithWarnings(fmt.Sprintf("the traffic of %s may not all have gone before its pods do: %v; a few requests can be lost",
			release.Object(req.Namespace, name), err))
	}
	return response
}

func dryRun(req admission.Request) bool { return req.DryRun != nil && *req.DryRun }

// retiring answers the question about the end of grayscale's own namespace, which is its end as well.
type retiring struct{ Controller }

// Handle lets the end pass once nothing is left that only grayscale could end.
func (h retiring) Handle(ctx context.Context, req admission.Request) admission.Response {
	response := admission.Allowed("")
	if dryRun(req) {
		return response
	}
	ctx, cancel := context.WithTimeout(ctx, retirePatience)
	defer cancel()
	if err := h.Retire(ctx); err != nil {
		return response.WithWarnings(fmt.Sprintf("not every hold could be lifted: %v; unpause what is left with kubectl rollout resume", err))
	}
	return response
}
