package annotator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"grayscale.dev/grayscale/observe"
)

// crdKind is watched as bare metadata, so that Istio may come and go while we run.
var crdKind = schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}

// definitions are the names of the custom resource definitions that routes need.
var definitions = []string{"virtualservices.networking.istio.io", "destinationrules.networking.istio.io"}

const (
	// firstLook and lastLook bound the pauses between looks for kinds that are defined but not served yet: a
	// definition takes moments to be established, and discovery moments more.
	firstLook = 250 * time.Millisecond
	lastLook  = 10 * time.Second
	// confinedLook is the pause between looks where definitions are not watched.
	confinedLook = 30 * time.Second
	// syncLimit is how long the first list of Istio's objects may take before it is tried again.
	syncLimit = 30 * time.Second
	// firstNotice and mostNotice bound how long istiod is given to notice kinds that have come back.
	firstNotice = 10 * time.Second
	mostNotice  = time.Minute
)

// crdWatcher is the controller's source of all that happens, and watches Istio's objects while the API server serves
// their kinds. The controller's workers wait until it has looked once: whether Istio is there must be known before
// anything is decided.
type crdWatcher struct {
	store     *Caches
	discovery discovery.DiscoveryInterface
	gateway   *gatewayWatcher

	looked chan struct{} // closed after the first look
	failed chan error    // holds why it could not start
	wake   chan struct{} // a definition changed; holds one at most

	pause      time.Duration // before the next look for kinds that are not served yet
	gone, back time.Time     // since when the definitions have been missed, and been there again; zero where they have not
}

func newCRDWatcher(s *Caches, d discovery.DiscoveryInterface) *crdWatcher {
	return &crdWatcher{store: s, discovery: d, gateway: &gatewayWatcher{store: s, discovery: d},
		looked: make(chan struct{}), failed: make(chan error, 1), wake: make(chan struct{}, 1)}
}

// String names the source in controller-runtime's log.
func (w *crdWatcher) String() string { return "the cluster" }

// Start has the controller's queue follow the caches, and begins to watch the definitions; the controller calls it.
func (w *crdWatcher) Start(ctx context.Context, q queue) error {
	w.store.followCore(q)
	go func() {
		if full(ctx, w.store.feeds) != nil { // another manager may start them, and later than this source
			return // only because ctx has ended
		}
		if err := w.watchDefinitions(ctx); err != nil {
			w.failed <- err
			return
		}
		w.follow(ctx, q)
	}()
	return nil
}

// WaitForSync returns once it is known whether Istio is there and, if so, all of its objects are.
func (w *crdWatcher) WaitForSync(ctx context.Context) error {
	select {
	case <-w.looked:
		return nil
	case err := <-w.failed:
		return err
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil
		}
		return fmt.Errorf("waiting for Istio's objects: %w", ctx.Err())
	}
}

// watchDefinitions does nothing where grayscale is confined to namespaces, and has no right to watch what is the
// cluster's: it asks from time to time then, as anybody may.
func (w *crdWatcher) watchDefinitions(ctx context.Context) error {
	if w.store.definitions == nil {
		return nil
	}
	crd := &metav1.PartialObjectMetadata{}
	crd.SetGroupVersionKind(crdKind)
	informer, err := w.store.definitions.GetInformer(ctx, crd) // returns once it has synced
	if err != nil {
		return fmt.Errorf("watching custom resource definitions: %w", err)
	}
	changed := func(obj any) {
		if tomb, ok := obj.(toolscache.DeletedFinalStateUnknown); ok {
			obj = tomb.Obj
		}
		if o, ok := obj.(client.Object); ok && watchedDefinition(o.GetName()) {
			select {
			case w.wake <- struct{}{}:
			default: // a look is due already
			}
		}
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: changed, DeleteFunc: changed, UpdateFunc: func(_, obj any) { changed(obj) }})
	return err
}

// watchedDefinition reports whether the custom resource definition is one of a kind that is watched while it is served.
func watchedDefinition(name string) bool {
	resource, group, _ := strings.Cut(name, ".")
	ofGateway := group == gatewayv1.GroupName && slices.Contains(slices.Collect(maps.Values(observe.MeshKinds)), resource)
	return ofGateway || slices.Contains(definitions, name)
}

// follow looks after each change of a definition, and again while there is something to wait for.
func (w *crdWatcher) follow(ctx context.Context, q queue) {
	for {
		running := w.store.routes.Load() != nil
		changed, later := w.gateway.look(ctx, q) // first: nothing is routed before it is known who routes already
		wait := soonest(w.look(ctx, q), later)
		begun, first := w.store.routes.Load() != nil && !running, !closed(w.looked)
		if begun || first || changed {
			enqueue(q, observe.All(w.store)) // what was there at the start of a watch is not told
		}
		if first {
			close(w.looked)
		}
		var again <-chan time.Time
		if wait > 0 {
			again = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
			w.gateway.again = true
		case <-again:
		}
	}
}

// soonest is the shorter of two pauses, of which zero is none.
func soonest(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// look starts or stops the watches to match what the API server serves. It tells when to look again, zero where nothing
// is left to wait for.
func (w *crdWatcher) look(ctx context.Context, q queue) time.Duration {
	log := ctrl.LoggerFrom(ctx)
	running := w.store.routes.Load() != nil
	if !w.defined(ctx) {
		if w.gone.IsZero() {
			w.gone = time.Now() // real time: it bounds a wait, and is no fact
		}
		if running {
			log.Info("Istio's custom resource definitions are gone: routes are left alone until they are back")
			w.stop(q)
		}
		w.pause, w.back = firstLook, time.Time{}
		return w.idle()
	}
	if running {
		return w.idle()
	}
	if served, err := w.served(); err != nil || !served {
		return w.later()
	}
	if wait := w.noticed(); wait > 0 {
		return wait
	}
	if err := w.start(ctx, q); err != nil {
		log.Info("Istio's objects cannot be watched yet", "reason", err.Error())
		return w.later()
	}
	log.Info("Istio's objects are watched")
	w.pause, w.gone, w.back = firstLook, time.Time{}, time.Time{}
	return w.idle()
}

// idle is when to look again while there is nothing to wait for: never where the definitions are watched.
func (w *crdWatcher) idle() time.Duration {
	if w.store.definitions != nil {
		return 0
	}
	return confinedLook
}

// later is a pause that doubles while nothing changes.
func (w *crdWatcher) later() time.Duration {
	w.pause = min(2*max(w.pause, firstLook), lastLook)
	return w.pause
}

// noticed is how long it may take until istiod has noticed that the kinds are back. Its watches try again ever later
// while there is nothing to watch (k8s.io/client-go tools/cache/reflector.go: pauses that double up to 30 s, each up to
// twice as long by chance), each kind for itself: twice the absence, and something for what was before this process
// began. Until both have noticed, no order of writes is an order for Envoy.
func (w *crdWatcher) noticed() time.Duration {
	if w.gone.IsZero() {
		return 0
	}
	if w.back.IsZero() {
		w.back = time.Now()
	}
	return time.Until(w.back.Add(min(firstNotice+2*w.back.Sub(w.gone), mostNotice)))
}

// defined: both definitions exist and neither is on its way out. Without a watch of them, their kinds are served.
func (w *crdWatcher) defined(ctx context.Context) bool {
	if w.store.definitions == nil {
		served, err := w.served()
		return served || err != nil && w.store.routes.Load() != nil // nobody knows: it is as it was
	}
	return !slices.ContainsFunc(definitions, func(name string) bool { return !w.store.defined(ctx, name) })
}

// defined reports whether a custom resource definition exists, and is not on its way out.
func (c *Caches) defined(ctx context.Context, name string) bool {
	crd := &metav1.PartialObjectMetadata{}
	crd.SetGroupVersionKind(crdKind)
	err := c.definitions.Get(ctx, client.ObjectKey{Name: name}, crd)
	return err == nil && crd.DeletionTimestamp == nil
}

func (w *crdWatcher) served() (bool, error) {
	list, err := w.discovery.ServerResourcesForGroupVersion(networkingv1.SchemeGroupVersion.String())
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	kinds := map[string]bool{}
	for _, r := range list.APIResources {
		kinds[r.Kind] = true
	}
	return kinds["VirtualService"] && kinds["DestinationRule"], nil
}

// start begins the watches, and returns once they have synced.
func (w *crdWatcher) start(ctx context.Context, q queue) error {
	limited, cancel := context.WithTimeout(ctx, syncLimit)
	defer cancel()
	err := w.store.watchRoutes(ctx, limited, func(r *routes) {
		follow(r.virtualServices, q, sameVersion, func(o *networkingv1.VirtualService) []types.NamespacedName {
			return observe.AffectedByIstio(w.store, o)
		})
		follow(r.destinationRules, q, sameVersion, func(o *networkingv1.DestinationRule) []types.NamespacedName {
			return observe.AffectedByIstio(w.store, o)
		})
	})
	if err != nil {
		return err
	}
	watched.Set(1)
	return nil
}

func (w *crdWatcher) stop(q queue) {
	affected := observe.All(w.store)
	w.store.forgetRoutes()
	watched.Set(0)
	enqueue(q, affected)
}
