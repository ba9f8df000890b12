package annotator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/release"
)

// Caches are what grayscale knows of the cluster: all Deployments, pods and Services, Istio's objects and the
// Gateway API's routes while the API server serves them, of which each keeps only what the engine reads. What is read from them belongs to the reader. They are
// watched by every replica, whether it leads or not.
type Caches struct {
	domain      string
	deployments *shelf[*appsv1.Deployment]
	pods        *shelf[*corev1.Pod]
	services    *shelf[*corev1.Service]
	routes      atomic.Pointer[routes] // nil while the API server does not serve Istio's kinds
	meshRoutes  meshRoutes             // of the Gateway API

	// seen is how far the watch of a namespace's Deployments has come.
	seen func(namespace string) string
	// namespaces are those that grayscale is confined to; one without a name is the whole cluster.
	namespaces []string
	feeds      []source
	istio      rest.Interface
	// definitions are the custom resource definitions, nil where grayscale is confined, and has no right to watch what is the cluster's.
	definitions cache.Cache
}

// source is a feed of any kind.
type source interface {
	run(ctx context.Context)
	full(ctx context.Context) error
}

// routes are the shelves of Istio's objects.
type routes struct {
	virtualServices  *shelf[*networkingv1.VirtualService]
	destinationRules *shelf[*networkingv1.DestinationRule]
	stop             context.CancelFunc
}

// NewCaches adds the caches to a manager, which starts them with its own; no namespaces stand for the whole cluster. domain
// is the cluster's, which completes the short names in Istio's objects.
func NewCaches(mgr manager.Manager, namespaces []string, domain string) (*Caches, error) {
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	c := emptyCaches(domain)
	c.namespaces = slices.Compact(slices.Sorted(slices.Values(namespaces)))
	apps, err := clientOf(mgr, appsv1.SchemeGroupVersion.WithKind("Deployment"))
	if err != nil {
		return nil, err
	}
	core, err := clientOf(mgr, corev1.SchemeGroupVersion.WithKind("Service"))
	if err != nil {
		return nil, err
	}
	if c.istio, err = clientOf(mgr, networkingv1.SchemeGroupVersion.WithKind("VirtualService")); err != nil {
		return nil, err
	}
	c.meshRoutes.client = meshClients(mgr)
	come := map[string]func() string{}
	for _, namespace := range c.namespaces {
		deployments := newFeed(c.deployments, apps, namespace)
		come[namespace] = deployments.reflector.LastSyncResourceVersion
		c.feeds = append(c.feeds, deployments, newFeed(c.services, core, namespace), newFeed(c.pods, core, namespace))
	}
	c.seen = func(namespace string) string {
		for _, name := range []string{metav1.NamespaceAll, namespace} {
			if version, ok := come[name]; ok {
				return version()
			}
		}
		return ""
	}
	if c.namespaces[0] == metav1.NamespaceAll {
		c.definitions, err = cache.New(mgr.GetConfig(), cache.Options{DefaultTransform: trimDefinition, Scheme: mgr.GetScheme(),
			Mapper: mgr.GetRESTMapper(), HTTPClient: mgr.GetHTTPClient()})
		if err != nil {
			return nil, fmt.Errorf("the cache of custom resource definitions: %w", err)
		}
		if err := mgr.Add(cached{c.definitions}); err != nil {
			return nil, err
		}
	}
	return c, mgr.Add(c)
}

func emptyCaches(domain string) *Caches {
	return &Caches{domain: domain, deployments: newShelf(deploymentKind()), pods: newShelf(podKind()), services: newShelf(serviceKind()),
		seen: func(string) string { return "" }, meshRoutes: meshRoutes{kept: map[string]keptKind{}}}
}

// cached has a manager start and stop the cache with its own.
type cached struct{ cache.Cache }

// GetCache is what a manager tells caches by.
func (c cached) GetCache() cache.Cache { return c.Cache }

func clientOf(mgr manager.Manager, kind schema.GroupVersionKind) (rest.Interface, error) {
	c, err := apiutil.RESTClientForGVK(kind, false, false, mgr.GetConfig(), serializer.NewCodecFactory(mgr.GetScheme()), mgr.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("a client of %s: %w", kind.GroupVersion(), err)
	}
	return c, nil
}

// Start watches until ctx ends; a manager calls it.
func (c *Caches) Start(ctx context.Context) error {
	watch(ctx, c.feeds)
	return nil
}

// NeedLeaderElection has a manager start the caches of every replica.
func (c *Caches) NeedLeaderElection() bool { return false }

// watch runs feeds until ctx ends.
func watch(ctx context.Context, feeds []source) {
	var running sync.WaitGroup
	for _, f := range feeds {
		running.Go(func() { f.run(ctx) })
	}
	running.Wait()
}

// full waits until all that there was at the start is there, and fails only where ctx ends.
func full(ctx context.Context, feeds []source) error {
	for _, f := range feeds {
		if err := f.full(ctx); err != nil {
			return err
		}
	}
	return nil
}

// watchRoutes begins to watch Istio's objects, and returns once all are there. prepare is called with their shelves before
// anything is.
func (c *Caches) watchRoutes(ctx context.Context, limit context.Context, prepare func(*routes)) error {
	ctx, stop := context.WithCancel(ctx)
	r := &routes{newShelf(virtualServiceKind(c.domain)), newShelf(destinationRuleKind(c.domain)), stop}
	prepare(r)
	var feeds []source
	for _, namespace := range c.namespaces {
		feeds = append(feeds, newFeed(r.virtualServices, c.istio, namespace), newFeed(r.destinationRules, c.istio, namespace))
	}
	go watch(ctx, feeds)
	if err := full(limit, feeds); err != nil {
		stop()
		return err
	}
	c.routes.Store(r)
	return nil
}

// forgetRoutes ends the watches of Istio's objects.
func (c *Caches) forgetRoutes() {
	if r := c.routes.Swap(nil); r != nil {
		r.stop()
	}
}

// confined fails for a namespace that grayscale is not told to look after.
func (c *Caches) confined(namespace string) error {
	if c.namespaces[0] == metav1.NamespaceAll || slices.Contains(c.namespaces, namespace) {
		return nil
	}
	return fmt.Errorf("grayscale is confined to namespaces, and %q is none of them", namespace)
}

// Services are those of a namespace that matter to a Deployment, see observe.ServicesFor. It waits for them while they are
// still being filled in.
func (c *Caches) Services(ctx context.Context, namespace string, d release.Deployment) ([]release.Service, error) {
	if err := errors.Join(c.confined(namespace), full(ctx, c.feeds)); err != nil {
		return nil, err
	}
	return observe.ServicesFor(c, namespace, d), nil
}

// Facts are what the controller would decide about a Service from, but for the times in it: those are known to the
// controller alone. It waits for all that while it is still being filled in.
func (c *Caches) Facts(ctx context.Context, namespace, service string) (routing.Facts, error) {
	if err := errors.Join(c.confined(namespace), full(ctx, c.feeds)); err != nil {
		return routing.Facts{}, err
	}
	return observe.GatherAlone(c, types.NamespacedName{Namespace: namespace, Name: service}, observe.Moment{}).Facts, nil
}
