// Package annotator is the controller: one reconciler, keyed by Service, that observes, decides and acts. It contains
// no rule about releases: those are in package routing.
package annotator

import (
	"fmt"
	"time"

	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/observe/store"
	"grayscale.dev/grayscale/routing"
)

// Options are what the wiring chooses.
type Options struct {
	// Store is what the controller reads from. The caller adds it to a manager.
	Store *store.Store
	// Settings are the administrator's. They are passed to routing.Decide unchanged.
	Settings routing.Settings
	// Outages records when the API server cannot be reached. It may be nil.
	Outages *observe.Outages
	// Name distinguishes the controllers of one process; only tests have several. "annotator" where it is empty.
	Name string
	// Events publishes Events; the manager's recorder for events.k8s.io where it is nil.
	Events events.EventRecorder
	// Configuration is the name of the mutating webhook configuration; "grayscale" where it is empty.
	Configuration string
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

const (
	// workers is how many Services are decided at once. Only one worker at a time decides about a Service.
	workers = 4
	// requestsAtOnce is Parts.AtOnce for a real API server.
	requestsAtOnce = 8
	// stepLimit bounds one reconcile, so that an API server that hangs does not block a worker for ever.
	stepLimit = 30 * time.Second
)

// Setup adds the controller to the manager. The manager's client must have no rate limit of its own (rest.Config.QPS
// -1): limiting requests is left to the API server's priority and fairness. The controller reads from Options.Store,
// never from the manager's caches.
func Setup(mgr manager.Manager, opts Options) (*Controller, error) {
	opts = opts.defaulted(mgr)
	c := New(Parts{Reader: opts.Store, Confined: opts.Store.Confined, Client: mgr.GetClient(), Live: mgr.GetAPIReader(),
		Events: opts.Events, Settings: opts.Settings, Outages: opts.Outages, Configuration: opts.Configuration,
		Clock: RealClock(), Decide: routing.Decide, AtOnce: requestsAtOnce})
	warm, anyName := true, opts.Name != controllerName
	queue, err := controller.New(opts.Name, mgr, controller.Options{
		Reconciler: c, MaxConcurrentReconciles: workers, ReconciliationTimeout: stepLimit, EnableWarmup: &warm,
		SkipNameValidation: &anyName, RateLimiter: c.RateLimiter()})
	if err != nil {
		return nil, fmt.Errorf("annotator: %w", err)
	}
	if err := queue.Watch(source{opts.Store}); err != nil {
		return nil, fmt.Errorf("annotator: %w", err)
	}
	return c, nil
}
