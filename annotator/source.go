package annotator

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"grayscale.dev/grayscale/observe/store"
)

// source makes the controller reconcile the Services that changes in the store affect.
type source struct{ store *store.Store }

// String names the source in controller-runtime's log.
func (s source) String() string { return "the cluster" }

// Start begins to fill the controller's queue. The controller calls it.
func (s source) Start(_ context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	s.store.Notify(func(services []types.NamespacedName) {
		for _, one := range services {
			q.Add(reconcile.Request{NamespacedName: one})
		}
	})
	return nil
}

// WaitForSync returns once the store is filled. The controller's workers start after that.
func (s source) WaitForSync(ctx context.Context) error { return s.store.WaitForSync(ctx) }
