// Package annotator is the controller: one reconciler, keyed by Service, that observes, decides and acts. It holds no
// rule about releases: those are routing's.
package annotator

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"grayscale.dev/grayscale/routing"
)

// Options are what the wiring chooses.
type Options struct {
	// Settings are the administrator's, handed to routing.Decide as they are.
	Settings routing.Settings
	// Now is the clock; time.Now where it is nil.
	Now func() time.Time
	// Name tells controllers of one process apart (in tests, where several run); "annotator" where it is empty.
	Name string
}

const concurrentServices = 4 // one Service is always one worker's

// reconciler holds what observing and acting need.
type reconciler struct {
	cached   client.Client // reads from the informers
	live     client.Reader // reads from the API server, for adoption alone
	events   events.EventRecorder
	settings routing.Settings
	now      func() time.Time
	istio    *istioAPI
	metrics  *tally
}

// Setup adds the controller to the manager. It starts without Istio's custom resource definitions and finds them by itself.
func Setup(mgr manager.Manager, opts Options) error {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Name == "" {
		opts.Name = "annotator"
	}
	r := &reconciler{cached: mgr.GetClient(), live: mgr.GetAPIReader(), events: mgr.GetEventRecorder(routing.FieldManager),
		settings: opts.Settings, now: opts.Now, metrics: newTally()}
	if err := index(mgr); err != nil {
		return err
	}
	c, err := controller.New(opts.Name, mgr, controller.Options{Reconciler: r, MaxConcurrentReconciles: concurrentServices,
		SkipNameValidation: &[]bool{true}[0]})
	if err != nil {
		return err
	}
	m := mapper{r}
	watches := []source.Source{
		source.Kind(mgr.GetCache(), &appsv1.Deployment{}, handler.TypedEnqueueRequestsFromMapFunc(m.deployment), deploymentChanged),
		source.Kind(mgr.GetCache(), &corev1.Service{}, handler.TypedEnqueueRequestsFromMapFunc(m.service), serviceChanged),
		source.Kind(mgr.GetCache(), &corev1.Pod{}, handler.TypedEnqueueRequestsFromMapFunc(m.pod), podChanged),
	}
	for _, w := range watches {
		if err := c.Watch(w); err != nil {
			return err
		}
	}
	r.istio = &istioAPI{mgr: mgr, controller: c, mapper: m}
	return mgr.Add(r.istio)
}

// Reconcile makes one step for one Service.
func (r *reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	facts, err := r.observe(ctx, req.NamespacedName)
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("observing Service %s: %w", req, err)
	}
	decision := routing.Decide(facts, r.settings)
	r.metrics.note(req.NamespacedName, facts, decision)
	if err := r.act(ctx, facts, decision); err != nil {
		if stale(err) {
			return reconcile.Result{RequeueAfter: staleRetry}, nil
		}
		return reconcile.Result{}, fmt.Errorf("acting for Service %s: %w", req, err)
	}
	if said := summary(decision); said != "" {
		ctrl.LoggerFrom(ctx).Info(said, "service", req.String())
	}
	return reconcile.Result{RequeueAfter: decision.After}, nil
}
