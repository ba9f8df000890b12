package annotator

import (
	"context"
	"sync/atomic"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"grayscale.dev/grayscale/routing/istio"
)

const (
	hostIndex = "grayscale.host" // the hosts that VirtualServices and DestinationRules name, resolved
	lookAgain = 10 * time.Second // between looks for Istio's definitions, until they are there
)

// istioAPI starts the watches of Istio's objects once the API server serves them.
type istioAPI struct {
	mgr        manager.Manager
	controller controller.Controller
	mapper     mapper
	there      atomic.Bool
}

func (i *istioAPI) served() bool { return i.there.Load() }

// NeedLeaderElection is false: a standby keeps its caches warm.
func (i *istioAPI) NeedLeaderElection() bool { return false }

// Start waits for Istio's custom resource definitions and then watches; it is called by the manager.
func (i *istioAPI) Start(ctx context.Context) error {
	found, err := discovery.NewDiscoveryClientForConfig(i.mgr.GetConfig())
	if err != nil {
		return err
	}
	log := ctrl.LoggerFrom(ctx).WithName("istio")
	for {
		_, err := found.ServerResourcesForGroupVersion(networkingv1.SchemeGroupVersion.String())
		if err == nil {
			break
		}
		log.Info("Istio's custom resource definitions are not served yet; looking again", "every", lookAgain.String(), "error", err.Error())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(lookAgain):
		}
	}
	if err := i.watch(ctx); err != nil && !meta.IsNoMatchError(err) {
		return err
	}
	return nil
}

func (i *istioAPI) watch(ctx context.Context) error {
	domain := i.mapper.r.settings.ClusterDomain
	for _, o := range []client.Object{&networkingv1.VirtualService{}, &networkingv1.DestinationRule{}} {
		err := i.mgr.GetFieldIndexer().IndexField(ctx, o, hostIndex, func(o client.Object) []string { return istio.HostKeys(o, domain) })
		if err != nil {
			return err
		}
		if _, err := i.mgr.GetCache().GetInformer(ctx, o); err != nil { // returns once it has synced
			return err
		}
	}
	i.there.Store(true)
	cache := i.mgr.GetCache()
	if err := i.controller.Watch(source.Kind(cache, &networkingv1.VirtualService{}, handler.TypedEnqueueRequestsFromMapFunc(i.mapper.virtualService))); err != nil {
		return err
	}
	if err := i.controller.Watch(source.Kind(cache, &networkingv1.DestinationRule{}, handler.TypedEnqueueRequestsFromMapFunc(i.mapper.destinationRule))); err != nil {
		return err
	}
	return i.controller.Watch(source.Func(i.all))
}

// all looks at every annotated Deployment again, now that there is an Istio to route with.
func (i *istioAPI) all(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	q := requests{}
	i.mapper.everywhere(ctx, q)
	for req := range q {
		queue.Add(req)
	}
	return nil
}
