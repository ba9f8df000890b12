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
	// syncLimit is how long the first list of Istio's objects may take before it is tried anew.
	syncLimit = 30 * time.Second
	// firstNotice and mostNotice bound how long istiod is given to notice kinds that have come back.
	firstNotice = 10 * time.Second
	mostNotice  = time.Minute
)

// mesh is the controller's source of all that happens, and watches Istio's objects while the API server serves their kinds.
// The controller's workers wait until it has looked once: whether Istio is there must be known before anything is decided.
type mesh struct {
	store     *Caches
	discovery discovery.DiscoveryInterface
	gateway   *gateway

	looked chan struct{} // closed after the first look
	failed chan error    // holds why it could not start
	wake   chan struct{} // a definition changed; holds one at most

	pause      time.Duration // before the next look for kinds that are not served yet
	gone, back time.Time     // since when the definitions have been missed, and been there again; zero where they have not
}

func newMesh(s *Caches, d discovery.DiscoveryInterface) *mesh {
	return &mesh{store: s, discovery: d, gateway: &gateway{store: s, discovery: d}, looked: make(chan struct{}), failed: make(chan error, 1), wake: make(chan struct{}, 1)}
}

// String names the source in controller-runtime's log.
func (m *mesh) String() string { return "the cluster" }

// Start has the controller's queue follow the caches, and begins to watch the definitions; the controller calls it.
func (m *mesh) Start(ctx context.Context, q queue) error {
	m.store.followCore(q)
	go func() {
		if full(ctx, m.store.feeds) != nil { // another manager may start them, and later than this source
			return // only because ctx has ended
		}
		if err := m.watchDefinitions(ctx); err != nil {
			m.failed <- err
			return
		}
		m.follow(ctx, q)
	}()
	return nil
}

// WaitForSync returns once it is known whether Istio is there and, if so, all of its objects are.
func (m *mesh) WaitForSync(ctx context.Context) error {
	select {
	case <-m.looked:
		return nil
	case err := <-m.failed:
		return err
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil
		}
		return fmt.Errorf("waiting for Istio's objects: %w", ctx.Err())
	}
}

// watchDefinitions does nothing where grayscale is confined to namespaces, and has no right to watch what is the cluster's:
// it asks from time to time then, as anybody may.
func (m *mesh) watchDefinitions(ctx context.Context) error {
	if m.store.definitions == nil {
		return nil
	}
	crd := &metav1.PartialObjectMetadata{}
	crd.SetGroupVersionKind(crdKind)
	informer, err := m.store.definitions.GetInformer(ctx, crd) // returns once it has synced
	if err != nil {
		return fmt.Errorf("watching custom resource definitions: %w", err)
	}
	changed := func(obj any) {
		if tomb, ok := obj.(toolscache.DeletedFinalStateUnknown); ok {
			obj = tomb.Obj
		}
		if o, ok := obj.(client.Object); ok && watchedDefinition(o.GetName()) {
			select {
			case m.wake <- struct{}{}:
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
	return slices.Contains(definitions, name) || group == gatewayv1.GroupName && slices.Contains(slices.Collect(maps.Values(observe.MeshKinds)), resource)
}

// follow looks after each change of a definition, and again while there is something to wait for.
func (m *mesh) follow(ctx context.Context, q queue) {
	for {
		running := m.store.routes.Load() != nil
		changed, later := m.gateway.look(ctx, q) // first: nothing is routed before it is known who routes already
		wait := soonest(m.look(ctx, q), later)
		begun, first := m.store.routes.Load() != nil && !running, !closed(m.looked)
		if begun || first || changed {
			enqueue(q, observe.All(m.store)) // what was there at the start of a watch is not told
		}
		if first {
			close(m.looked)
		}
		var again <-chan time.Time
		if wait > 0 {
			again = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
			m.gateway.again = true
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
func (m *mesh) look(ctx context.Context, q queue) time.Duration {
	log := ctrl.LoggerFrom(ctx)
	running := m.store.routes.Load() != nil
	if !m.defined(ctx) {
		if m.gone.IsZero() {
			m.gone = time.Now() // real time: it bounds a wait, and is no fact
		}
		if running {
			log.Info("Istio's custom resource definitions are gone: routes are left alone until they are back")
			m.stop(q)
		}
		m.pause, m.back = firstLook, time.Time{}
		return m.idle()
	}
	if running {
		return m.idle()
	}
	if served, err := m.served(); err != nil || !served {
		return m.later()
	}
	if wait := m.noticed(); wait > 0 {
		return wait
	}
	if err := m.start(ctx, q); err != nil {
		log.Info("Istio's objects cannot be watched yet", "reason", err.Error())
		return m.later()
	}
	log.Info("Istio's objects are watched")
	m.pause, m.gone, m.back = firstLook, time.Time{}, time.Time{}
	return m.idle()
}

// idle is when to look again while there is nothing to wait for: never where the definitions are watched.
func (m *mesh) idle() time.Duration {
	if m.store.definitions != nil {
		return 0
	}
	return confinedLook
}

// later is a pause that doubles while nothing changes.
func (m *mesh) later() time.Duration {
	m.pause = min(2*max(m.pause, firstLook), lastLook)
	return m.pause
}

// noticed is how long it may take until istiod has noticed that the kinds are back. Its watches try again ever later while
// there is nothing to watch (k8s.io/client-go tools/cache/reflector.go: pauses that double up to 30 s, each up to twice as
// long by chance), each kind for itself: twice the absence, and something for what was before this process began. Until
// both have noticed, no order of writes is an order for Envoy.
func (m *mesh) noticed() time.Duration {
	if m.gone.IsZero() {
		return 0
	}
	if m.back.IsZero() {
		m.back = time.Now()
	}
	return time.Until(m.back.Add(min(firstNotice+2*m.back.Sub(m.gone), mostNotice)))
}

// defined: both definitions exist and neither is on its way out. Without a watch of them, their kinds are served.
func (m *mesh) defined(ctx context.Context) bool {
	if m.store.definitions == nil {
		served, err := m.served()
		return served || err != nil && m.store.routes.Load() != nil // nobody knows: it is as it was
	}
	return !slices.ContainsFunc(definitions, func(name string) bool { return !m.store.defined(ctx, name) })
}

// defined reports whether a custom resource definition exists, and is not on its way out.
func (c *Caches) defined(ctx context.Context, name string) bool {
	crd := &metav1.PartialObjectMetadata{}
	crd.SetGroupVersionKind(crdKind)
	err := c.definitions.Get(ctx, client.ObjectKey{Name: name}, crd)
	return err == nil && crd.DeletionTimestamp == nil
}

func (m *mesh) served() (bool, error) {
	list, err := m.discovery.ServerResourcesForGroupVersion(networkingv1.SchemeGroupVersion.String())
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
func (m *mesh) start(ctx context.Context, q queue) error {
	limited, cancel := context.WithTimeout(ctx, syncLimit)
	defer cancel()
	err := m.store.watchRoutes(ctx, limited, func(r *routes) {
		follow(r.virtualServices, q, sameVersion, func(o *networkingv1.VirtualService) []types.NamespacedName {
			return observe.AffectedByIstio(m.store, o)
		})
		follow(r.destinationRules, q, sameVersion, func(o *networkingv1.DestinationRule) []types.NamespacedName {
			return observe.AffectedByIstio(m.store, o)
		})
	})
	if err != nil {
		return err
	}
	watched.Set(1)
	return nil
}

func (m *mesh) stop(q queue) {
	affected := observe.All(m.store)
	m.store.forgetRoutes()
	watched.Set(0)
	enqueue(q, affected)
}
