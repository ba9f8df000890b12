package webhook

import (
	"context"
	"time"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/release"
)

// readTimeout bounds all reads for one answer. They read from memory, so they wait only while a cache is still filling.
// It must be shorter than timeoutSeconds of the webhook configurations, after which the API server gives up.
const readTimeout = time.Second

// Cluster is what is known about the cluster. The controller's caches implement it.
type Cluster interface {
	// Services are those of a namespace that a Deployment names, and those that select its pods with any version label.
	// The result may contain others.
	Services(ctx context.Context, namespace string, d release.Deployment) ([]release.Service, error)
	// Facts are the facts from which the controller would decide about one Service, but without times.
	Facts(ctx context.Context, namespace, service string) (routing.Facts, error)
}
