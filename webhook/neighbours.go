package webhook

import (
	"context"
	"time"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/release"
)

// patience bounds all reading for one answer. It reads from memory; only a cache that is still filling makes it wait, and
// the API server gives up after the webhook configurations' timeoutSeconds: this must end sooner.
const patience = time.Second

// Cluster is what is known of the cluster: the caches that the controller keeps anyway.
type Cluster interface {
	// Services are those of a namespace.
	Services(ctx context.Context, namespace string) ([]release.Service, error)
	// Facts are what the controller would decide about one Service from, but for the times in it.
	Facts(ctx context.Context, namespace, service string) (routing.Facts, error)
}

// neighbours tells what is around a Deployment at the door, and what its administrator has chosen.
type neighbours struct {
	known    Cluster
	settings routing.Settings
}
