package annotator

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"grayscale.dev/grayscale/observe"
)

// Controller observes, decides and acts. The leader reconciles; every replica answers the webhook's questions, for the
// API server asks any of them, the caches are warm in all, and what is decided from a stale one is refused.
type Controller struct {
	Parts
	expectations *expectations
	firstSeen    *observe.FirstSeen
	histories    *histories
	metrics      *tally
	waiting      *backoff[types.NamespacedName] // Services that wait for somebody
	failed       *backoff[reconcile.Request]    // Services whose reconcile failed
}

// New is a controller that somebody else calls: Setup's manager, or a simulator.
func New(p Parts) *Controller {
	if p.Confined == nil {
		p.Confined = func(string) error { return nil }
	}
	now := p.Clock.Now
	return &Controller{Parts: p, expectations: newExpectations(now), firstSeen: observe.NewFirstSeen(),
		histories: newHistories(), metrics: newTally(),
		waiting: newBackoff[types.NamespacedName](now), failed: newBackoff[reconcile.Request](now)}
}

// RateLimiter tells the queue of Services when to try again what failed.
func (c *Controller) RateLimiter() workqueue.TypedRateLimiter[reconcile.Request] { return c.failed }

// Reconcile makes one step for one Service.
func (c *Controller) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	key := req.NamespacedName
	if !c.expectations.satisfied(key, c.cached) {
		return c.again(key), nil
	}
	seen := c.observe(key)
	decision := c.Decide(seen.Facts, c.Settings)
	c.metrics.note(key, seen.Facts, decision.Report)
	if err := c.actOn(ctx, key, seen, decision); err != nil {
		if waits(err) {
			ctrl.LoggerFrom(ctx).V(1).Info("looking again soon", "reason", err.Error())
			return c.again(key), nil
		}
		return reconcile.Result{}, err
	}
	c.waiting.Forget(key)
	if !observe.Active(c.Reader, key) {
		c.firstSeen.Forget(key)
		c.histories.forget(key)
	}
	return reconcile.Result{RequeueAfter: decision.After}, nil
}

// observe gathers the facts about one Service.
func (c *Controller) observe(key types.NamespacedName) observe.Observation {
	now := c.Clock.Now().UTC()
	return observe.Gather(c.Reader, key, observe.Moment{Now: now, FirstSeen: c.firstSeen, Back: c.Outages.Back(now)})
}

// again comes back after a time that grows with the wait; an event comes before it.
func (c *Controller) again(key types.NamespacedName) reconcile.Result {
	return reconcile.Result{RequeueAfter: c.waiting.When(key)}
}

// Kinds of objects.
const (
	kindDeployment      = "Deployment"
	kindService         = "Service"
	kindVirtualService  = observe.KindVirtualService
	kindDestinationRule = observe.KindDestinationRule
)

// cached is an object as the Reader has it; nil where there is none. While Istio is gone, so are its objects.
func (c *Controller) cached(namespace, kind, name string) client.Object {
	if kind == kindDeployment {
		return orNil(c.Reader.GetDeployment(namespace, name))
	}
	istio := c.Reader.Istio()
	switch {
	case istio == nil:
		return nil
	case kind == kindVirtualService:
		return orNil(istio.GetVirtualService(namespace, name))
	}
	return orNil(istio.GetDestinationRule(namespace, name))
}

// orNil is nil for a nil pointer.
func orNil[T any, P interface {
	*T
	client.Object
}](o P) client.Object {
	if o == nil {
		return nil
	}
	return o
}
