package annotator

import (
	"context"
	"fmt"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/routing"
)

// Drain moves the traffic away from a Deployment before its pods go: it has the routes of its Services lead elsewhere,
// and returns once every Envoy has been told, or when ctx ends. It returns at once where the Deployment gets no traffic, or
// where nobody else can take it.
func (c *Controller) Drain(ctx context.Context, namespace, name string) error {
	moved, err := c.drain(ctx, namespace, name)
	c.r.metrics.drained(moved, err)
	return err
}

// drain is Drain; it tells whether this question has moved the traffic: of one end there may be several, as the API server asks again
// after a conflict.
func (c *Controller) drain(ctx context.Context, namespace, name string) (bool, error) {
	q := question{
		ask: func(f *routing.Facts) { f.Leaving = []string{name} },
		why: leavingWhy,
		pause: func(f routing.Facts, d routing.Decision) time.Duration {
			if d.After <= c.r.settings.Settle && routing.Served(f.VirtualService, name) {
				return d.After // the version that could take the traffic has not settled yet
			}
			return 0
		},
		wait: func(f routing.Facts, vs *networkingv1.VirtualService) time.Duration {
			return f.Drained(vs, name, c.r.settings)
		},
	}
	return c.settle(ctx, func() (bool, time.Duration, error) {
		o := c.r.store.GetDeployment(namespace, name)
		if o == nil {
			return false, 0, nil
		}
		var keys []types.NamespacedName
		for _, service := range observe.ServicesOf(c.r.store, o) {
			keys = append(keys, types.NamespacedName{Namespace: namespace, Name: service})
		}
		return c.moveAll(ctx, keys, fmt.Sprintf("away from Deployment %s", name), q)
	})
}

// settle has traffic moved, and returns once that has reached every Envoy. Meanwhile the announcement may be lost, with routes
// that somebody deletes, and traffic be led back: it is looked at again.
func (c *Controller) settle(ctx context.Context, move func() (moved bool, wait time.Duration, err error)) (bool, error) {
	anyMoved := false
	for {
		moved, wait, err := move()
		anyMoved = anyMoved || moved
		if err != nil || wait == 0 {
			return anyMoved, err
		}
		if err := c.r.clock.Sleep(ctx, wait); err != nil {
			return anyMoved, err
		}
	}
}

// moveAll writes the routes of Services where that is needed, and gives how long it takes until every Envoy has them.
func (c *Controller) moveAll(ctx context.Context, keys []types.NamespacedName, where string, q question) (anyMoved bool, longest time.Duration, err error) {
	for _, key := range keys {
		moved, wait, err := c.r.move(ctx, key, q)
		if err != nil {
			return anyMoved, 0, fmt.Errorf("moving the traffic of Service %s %s: %w", key, where, err)
		}
		anyMoved, longest = anyMoved || moved, max(longest, wait)
	}
	return anyMoved, longest, nil
}

// question is what the API server asks about before it acts, as far as one Service is concerned.
type question struct {
	// ask adds it to the facts.
	ask func(*routing.Facts)
	why func(routing.Facts) []string
	// pause is how long it takes until there may be routes to write, where there are none now; zero where nothing is waited for.
	pause func(routing.Facts, routing.Decision) time.Duration
	// confirm is what the answer rests on where nothing is written: it has to be read past the caches.
	confirm routing.Derived
	// wait is how long it takes until the routes have reached every Envoy.
	wait func(routing.Facts, *networkingv1.VirtualService) time.Duration
}

// move writes one Service's routes where that is needed, and gives how long it takes until every Envoy has them.
func (r *reconciler) move(ctx context.Context, key types.NamespacedName, q question) (moved bool, wait time.Duration, err error) {
	for {
		seen := r.observe(key)
		q.ask(&seen.Facts)
		decision := r.decide(seen.Facts, r.settings)
		left, pause := seen.Facts.VirtualService, time.Duration(0)
		if decision.ApplyVirtualService != nil && left != nil {
			left = decision.ApplyVirtualService
			a := r.acting(ctx, key, seen)
			a.why = func() []string { return q.why(seen.Facts) }
			err := a.act(decision.Routes())
			switch {
			case waits(err):
				pause = shortest // the cache lags behind; what it shows next is decided anew
			case err != nil:
				return moved, 0, err
			default:
				moved = true
			}
		} else {
			pause = q.pause(seen.Facts, decision)
			if err := r.confirmed(ctx, key, seen, q); err != nil {
				if !waits(err) {
					return moved, 0, err
				}
				pause = shortest
			}
		}
		if pause == 0 {
			return moved, q.wait(seen.Facts, left), nil
		}
		if err := r.clock.Sleep(ctx, pause); err != nil {
			return moved, 0, err
		}
	}
}

// confirmed fails where a question's answer would rest on what the caches alone say.
func (r *reconciler) confirmed(ctx context.Context, key types.NamespacedName, seen observe.Observation, q question) error {
	if q.confirm.IsZero() {
		return nil
	}
	return r.acting(ctx, key, seen).Confirm(q.confirm)
}
