package webhook

import (
	"context"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"grayscale.dev/grayscale/routing/release"
)

// drainPatience is how long a deletion waits for its traffic to go, at most. It ends before timeoutSeconds of the webhook
// configuration, so that the one who deletes is told.
const drainPatience = 4 * time.Second

// Drainer moves the traffic away from a Deployment whose pods are about to go. It returns once no Envoy sends it anything
// any more, at once where none does, and with an error where that could not be reached before ctx ended.
type Drainer interface {
	Drain(ctx context.Context, namespace, name string) error
}

// draining answers questions about the end of a Deployment: its deletion, or its scaling to zero by whichever resource. It
// never refuses; the answer alone is late.
type draining struct{ Drainer }

// Handle lets the end pass once the traffic has gone.
func (h draining) Handle(ctx context.Context, req admission.Request) admission.Response {
	response := admission.Allowed("")
	if req.DryRun != nil && *req.DryRun {
		return response
	}
	name := req.Name
	if name == "" { // so it is where a collection or a namespace is deleted
		name = read(req.OldObject.Raw).Name
	}
	ctx, cancel := context.WithTimeout(ctx, drainPatience)
	defer cancel()
	if err := h.Drain(ctx, req.Namespace, name); err != nil {
		return response.WithWarnings(fmt.Sprintf("the traffic of %s may not all have gone before its pods do: %v; a few requests can be lost",
			release.Object(req.Namespace, name), err))
	}
	return response
}
