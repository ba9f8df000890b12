// Package annotator is the controller: one reconciler, keyed by Service, that observes, decides and acts. It holds no
// rule about releases: those are routing's.
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
	// Store is where everything is read from. It runs by itself.
	Store *store.Store
	// Settings are the administrator's, handed to routing.Decide as they are.
	Settings routing.Settings
	// Outages notes when the API server cannot be reached; nil where the transport reports to nobody.
	Outages *observe.Outages
	// Name tells controllers of one process apart, which only tests have several of; "annotator" where it is empty.
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
	// workers decide that many Services at once; one Service is always one worker's.
	workers = 4
	// requestsAtOnce is Parts.AtOnce of a real API server.
	requestsAtOnce = 8
	// stepLimit bounds one reconcile, so that an API server that hangs does not keep a worker for ever.
	stepLimit = 30 * time.Second
)

// Setup adds the controller to the manager, whose client must have no rate limit of its own (rest.Config.QPS -1): the
// API server's priority and fairness is the one to slow us down. It reads from the Options' store, never from the
// manager's caches.
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
