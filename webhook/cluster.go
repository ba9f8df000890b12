package webhook

import (
	"context"
	"time"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/release"
)

// readTimeout bounds all reading for one answer. All is read from memory, and only a cache that is still filling makes
// a reader wait. It must be shorter than timeoutSeconds of the webhook configurations, after which the API server gives
// up.
const readTimeout = time.Second

// Cluster is what is known of the cluster: the caches that the controller has anyway.
type Cluster interface {
	// Services are those of a namespace that a Deployment names, and those that select its pods, whatever version label it
	// has. Others do no harm.
	Services(ctx context.Context, namespace string, d release.Deployment) ([]release.Service, error)
	// Facts are what the controller would decide about one Service from, but without times.
	Facts(ctx context.Context, namespace, service string) (routing.Facts, error)
}
