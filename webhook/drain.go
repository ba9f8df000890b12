package webhook

import (
	"context"
	"fmt"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"grayscale.dev/grayscale/routing/release"
)

// drainTimeout bounds how long a deletion waits until its traffic has moved. It is shorter than timeoutSeconds of the
// webhook configuration, so that the user gets a warning.
const drainTimeout = 5 * time.Second

// uninstallTimeout is the same for uninstalling grayscale.
const uninstallTimeout = 9 * time.Second

// Controller does the work that an answer waits for.
type Controller interface {
	// Drain moves the traffic away from a Deployment whose pods are about to go. It returns once no Envoy sends it
	// requests any more, and at once where none does. It fails where that takes longer than ctx.
	Drain(ctx context.Context, namespace, name string) error
	// Precede changes routes so that they bypass the subsets that a DestinationRule is about to hide from clients: before
	// it is created (before is nil), changed, or deleted (after is nil). It returns once every Envoy has the routes, and
	// at once where the rule hides no subsets. It fails where that takes longer than ctx.
	Precede(ctx context.Context, before, after *networkingv1.DestinationRule) error
	// PrepareUninstall ends every hold and makes sure that no new one begins, because grayscale is being uninstalled.
	PrepareUninstall(ctx context.Context) error
}

// draining answers when a Deployment is deleted, or scaled to zero by an update of it or of its scale subresource. It
// never refuses; it only delays the answer.
type draining struct{ Controller }

// Handle allows the request once the traffic has moved.
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

// uninstalling answers when grayscale's own namespace is deleted, which uninstalls grayscale.
type uninstalling struct{ Controller }

// Handle allows the request once no Deployment is held any more.
func (h uninstalling) Handle(ctx context.Context, req admission.Request) admission.Response {
	response := admission.Allowed("")
	if dryRun(req) {
		return response
	}
	ctx, cancel := context.WithTimeout(ctx, uninstallTimeout)
	defer cancel()
	if err := h.PrepareUninstall(ctx); err != nil {
		return response.WithWarnings(fmt.Sprintf(
			"not every hold could be lifted: %v; unpause what is left with kubectl rollout resume", err))
	}
	return response
}
