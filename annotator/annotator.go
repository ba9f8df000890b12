// Package annotator is the controller: one reconciler, keyed by Service, that observes, decides and acts. It holds no
// rule about releases: those are routing's.
package annotator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/routing"
)

// Options are what the wiring chooses.
type Options struct {
	// Caches are those of NewCaches. All is read from them.
	Caches *Caches
	// Settings are the administrator's, handed to routing.Decide as they are.
	Settings routing.Settings
	// Now is the clock, which must not jump; where it is nil, the time at Setup and what has passed since.
	Now func() time.Time
	// Outages notes when the API server cannot be reached; nil where the transport reports to nobody.
	Outages *observe.Outages
	// Name tells controllers of one process apart, which only tests have several of; "annotator" where it is empty.
	Name string
	// Events publishes Events; the manager's recorder for events.k8s.io where it is nil.
	Events events.EventRecorder
	// Configuration is the name of the mutating webhook configuration; "grayscale" where it is empty.
	Configuration string
}

// Controller is what the webhook asks of the controller. Every replica can do it, whether it leads or not: the API server
// asks any of them, the caches are warm in all, and what is decided from a stale one is refused.
type Controller struct {
	r       *reconciler
	limiter *pauses[reconcile.Request]
	mesh    *mesh // nil where somebody else watches
}

// errCold is what a readiness probe meets before the caches are warm.
var errCold = errors.New("the caches are not filled yet")

// Warm fails, as a readiness check does, until this replica knows all that it would decide from if it led.
func (c *Controller) Warm(*http.Request) error {
	if !closed(c.mesh.looked) {
		return errCold
	}
	return nil
}

const (
	// workers decide that many Services at once; one Service is always one worker's.
	workers = 4
	// stepLimit bounds one reconcile, so that an API server that hangs does not keep a worker for ever.
	stepLimit = 30 * time.Second
)

// reconciler holds what observing and acting need.
type reconciler struct {
	store     observe.Reader
	confined  func(namespace string) error // fails for namespaces that are not looked after
	client    client.Client                // writes
	live      client.Reader                // reads past the caches, for adoption alone
	events    events.EventRecorder
	settings  routing.Settings
	clock     Clock
	decide    func(routing.Facts, routing.Settings) routing.Decision
	atOnce    int
	echoes    *echoes
	firstSeen *observe.FirstSeen
	outages   *observe.Outages
	pasts     *pasts
	metrics   *tally
	pauses    *pauses[types.NamespacedName] // of Services that wait
	// configuration is the name of the mutating webhook configuration.
	configuration string
}

// Setup adds the controller to the manager, whose client must have no rate limit of its own (rest.Config.QPS -1): the API
// server's priority and fairness is the one to slow us down. It reads from the Options' caches, never from the manager's. The controller
// starts without Istio's custom resource definitions, and finds them by itself once they are there.
func Setup(mgr manager.Manager, opts Options) (*Controller, error) {
	opts = opts.defaulted(mgr)
	found, err := discovery.NewDiscoveryClientForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("annotator: %w", err)
	}
	clock := RealClock()
	if opts.Now != nil {
		clock.Now = opts.Now
	}
	made := New(Parts{Reader: opts.Caches, Confined: opts.Caches.confined, Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Events: opts.Events,
		Settings: opts.Settings, Outages: opts.Outages, Configuration: opts.Configuration, Clock: clock, Decide: routing.Decide, AtOnce: requestsAtOnce})
	made.mesh = newMesh(opts.Caches, found)
	warm, anyName := true, opts.Name != controllerName
	c, err := controller.New(opts.Name, mgr, controller.Options{
		Reconciler: made, MaxConcurrentReconciles: workers, ReconciliationTimeout: stepLimit, EnableWarmup: &warm, SkipNameValidation: &anyName,
		RateLimiter: made.RateLimiter()})
	if err != nil {
		return nil, fmt.Errorf("annotator: %w", err)
	}
	if err := c.Watch(made.mesh); err != nil {
		return nil, fmt.Errorf("annotator: %w", err)
	}
	return made, nil
}

const controllerName = "annotator"

func (o Options) defaulted(mgr manager.Manager) Options {
	if o.Name == "" {
		o.Name = controllerName
	}
	if o.Configuration == "" {
		o.Configuration = routing.FieldManager
	}
	if o.Events == nil {
		o.Events = mgr.GetEventRecorder(routing.FieldManager)
	}
	return o
}

// Reconcile makes one step for one Service.
func (c *Controller) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	return c.r.Reconcile(ctx, req)
}

// RateLimiter tells the queue of Services when to try again what failed.
func (c *Controller) RateLimiter() workqueue.TypedRateLimiter[reconcile.Request] { return c.limiter }

// Reconcile makes one step for one Service.
func (r *reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	key := req.NamespacedName
	if r.echoes.missing(key, r.cached) {
		return r.again(key), nil
	}
	seen := r.observe(key)
	decision := r.decide(seen.Facts, r.settings)
	r.metrics.note(key, seen.Facts, decision)
	if err := r.actOn(ctx, key, seen, decision); err != nil {
		if waits(err) {
			ctrl.LoggerFrom(ctx).V(1).Info("looking again soon", "reason", err.Error())
			return r.again(key), nil
		}
		return reconcile.Result{}, err
	}
	r.pauses.Forget(key)
	if !observe.Active(r.store, key) {
		r.firstSeen.Forget(key)
		r.pasts.forget(key)
	}
	return reconcile.Result{RequeueAfter: decision.After}, nil
}

// observe gathers the facts about one Service.
func (r *reconciler) observe(key types.NamespacedName) observe.Observation {
	now := r.clock.Now().UTC()
	return observe.Gather(r.store, key, observe.Moment{Now: now, FirstSeen: r.firstSeen, Back: r.outages.Back(now)})
}

// again comes back after a pause that grows with the wait; an event comes before it.
func (r *reconciler) again(key types.NamespacedName) reconcile.Result {
	return reconcile.Result{RequeueAfter: r.pauses.When(key)}
}

// Kinds of objects.
const (
	kindDeployment      = "Deployment"
	kindService         = "Service"
	kindVirtualService  = observe.KindVirtualService
	kindDestinationRule = observe.KindDestinationRule
)

// cached finds what echoes waits for; nil where there is none. While Istio is gone, nothing of it is waited for.
func (r *reconciler) cached(namespace, kind, name string) client.Object {
	if kind == kindDeployment {
		return found(r.store.GetDeployment(namespace, name))
	}
	istio := r.store.Istio()
	switch {
	case istio == nil:
		return nil
	case kind == kindVirtualService:
		return found(istio.GetVirtualService(namespace, name))
	}
	return found(istio.GetDestinationRule(namespace, name))
}

// found is nil for a nil pointer.
func found[T any, P interface {
	*T
	client.Object
}](o P) client.Object {
	if o == nil {
		return nil
	}
	return o
}
