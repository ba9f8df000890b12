package webhook

import (
	"context"
	"fmt"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"grayscale.dev/grayscale/routing/release"
)

// drainTimeout is how long a deletion waits for its traffic to go, at most. It is shorter than timeoutSeconds of the
// webhook configuration, so that the user gets a warning.
const drainTimeout = 5 * time.Second

// retireTimeout is the same for the end of grayscale.
const retireTimeout = 9 * time.Second

// Controller does what an answer waits for.
type Controller interface {
	// Drain moves the traffic away from a Deployment whose pods are about to go. It returns once no Envoy sends it
	// anything any more, at once where none does, and with an error where that could not be reached before ctx ended.
	Drain(ctx context.Context, namespace, name string) error
	// Precede has the routes lead clients past the subsets that a DestinationRule will take from them: before it is
	// created (before is nil), changed, or deleted (after is nil). It returns once every Envoy has been told, at once
	// where it takes nothing from anybody, and with an error where that could not be reached before ctx ended.
	Precede(ctx context.Context, before, after *networkingv1.DestinationRule) error
	// PrepareUninstall ends every hold and makes sure that none begins: grayscale is being uninstalled.
	PrepareUninstall(ctx context.Context) error
}

// draining answers about the end of a Deployment: its deletion, or its scaling to zero by either resource. It never
// refuses; it only answers late.
type draining struct{ Controller }

// Handle allows the end once the traffic has gone.
func (h draining) Handle(ctx context.Context, req admission.Request) admission.Response {
	response := admission.Allowed("")
	if dryRun(req) {
		return response
	}
	name := req.Name
	if name == "" { // a collection or a namespace is deleted
		name = read(req.OldObject.Raw).Name
	}
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	if err := h.Drain(ctx, req.Namespace, name); err != nil {
		loggerFor(ctx, req).Info("gave up moving traffic before an end",
			"deployment", req.Namespace+"/"+name, "why", err.Error())
		return response.WithWarnings(fmt.Sprintf(
			"the traffic of %s may not all have gone before its pods do: %v; a few requests can be lost",
			release.Object(req.Namespace, name), err))
	}
	return response
}

func dryRun(req admission.Request) bool { return req.DryRun != nil && *req.DryRun }

// retiring answers about the end of grayscale's own namespace, which uninstalls grayscale.
type retiring struct{ Controller }

// Handle allows the end once no Deployment is held any more.
func (h retiring) Handle(ctx context.Context, req admission.Request) admission.Response {
	response := admission.Allowed("")
	if dryRun(req) {
		return response
	}
	ctx, cancel := context.WithTimeout(ctx, retireTimeout)
	defer cancel()
	if err := h.PrepareUninstall(ctx); err != nil {
		return response.WithWarnings(fmt.Sprintf(
			"not every hold could be lifted: %v; unpause what is left with kubectl rollout resume", err))
	}
	return response
}
