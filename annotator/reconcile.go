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

// Controller observes, decides and acts. Only the leader reconciles. Every replica answers the webhook, because the API
// server may call any of them. That is safe: all caches are warm, and the API server refuses writes from a stale one.
type Controller struct {
	Parts
	expectations *expectations
	firstSeen    *observe.FirstSeen
	histories    *histories
	metrics      *tally
	waiting      *backoff[types.NamespacedName] // Services that wait for others or for a cache
	failed       *backoff[reconcile.Request]    // Services whose reconcile failed
}

// New makes a controller without a queue: Setup's manager or a simulator calls Reconcile.
func New(p Parts) *Controller {
	if p.Confined == nil {
		p.Confined = func(string) error { return nil }
	}
	now := p.Clock.Now
	return &Controller{Parts: p, expectations: newExpectations(now), firstSeen: observe.NewFirstSeen(),
		histories: newHistories(), metrics: newTally(),
		waiting: newBackoff[types.NamespacedName](now), failed: newBackoff[reconcile.Request](now)}
}

// RateLimiter decides when the queue of Services tries again what failed.
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

// again requeues the Service after a time that grows with the wait. An event may come first.
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

// cached is an object as the Reader has it; nil where there is none, or where Istio's kinds are not served.
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

// orNil converts a pointer to an object. A nil pointer becomes a nil interface.
func orNil[T any, P interface {
	*T
	client.Object
}](o P) client.Object {
	if o == nil {
		return nil
	}
	return o
}
