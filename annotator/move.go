package annotator

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/mesh"
)

// question is something that the API server asks about before it acts, for one Service.
type question struct {
	// add adds what is about to happen to the facts.
	add func(*routing.Facts)
	// why are the reasons of the writes, for the log.
	why func(routing.Facts) []string
	// retry is how long it takes until there may be routes to write, where there are none now; zero where there is
	// nothing to wait for.
	retry func(routing.Facts, routing.Decision) time.Duration
	// confirm is what the answer depends on where nothing is written. It has to be read past the caches.
	confirm routing.Basis
	// wait is how long it takes until the routes have reached every Envoy.
	wait func(routing.Facts, mesh.Object) time.Duration
}

// mover moves traffic, and returns the time until every Envoy has the routes; zero where there is nothing to wait for.
type mover func() (moved bool, wait time.Duration, err error)

// settle moves traffic, and returns once every Envoy has the routes. It checks again after each wait: meanwhile
// somebody may delete the routes, with the announcement in them, and traffic would return.
func (c *Controller) settle(ctx context.Context, move mover) (moved bool, err error) {
	for {
		again, wait, err := move()
		moved = moved || again
		if err != nil || wait == 0 {
			return moved, err
		}
		if err := c.Clock.Sleep(ctx, wait); err != nil {
			return moved, err
		}
	}
}

// moveAll writes the routes of Services where that is needed. It returns the time until every Envoy has them.
func (c *Controller) moveAll(ctx context.Context, keys []types.NamespacedName, where string, q question) (
	moved bool, longest time.Duration, err error) {
	for _, key := range keys {
		one, wait, err := c.move(ctx, key, q)
		if err != nil {
			return moved, 0, fmt.Errorf("moving the traffic of Service %s %s: %w", key, where, err)
		}
		moved, longest = moved || one, max(longest, wait)
	}
	return moved, longest, nil
}

// move writes one Service's routes where that is needed. It returns the time until every Envoy has them.
func (c *Controller) move(ctx context.Context, key types.NamespacedName, q question) (bool, time.Duration, error) {
	moved := false
	for {
		var err error
		seen := c.observe(key)
		q.add(&seen.Facts)
		decision := c.Decide(seen.Facts, c.Settings)
		left, retry := routesIn(seen.Facts), time.Duration(0)
		if w, moves := decision.Find(routing.Apply, routing.Routes); moves && left != nil {
			left = w.Object
			a := c.acting(ctx, key, seen)
			a.why = func() []string { return q.why(seen.Facts) }
			err = a.act(decision.OnlyRoutes())
			moved = moved || err == nil
		} else {
			retry = q.retry(seen.Facts, decision)
			if !q.confirm.IsZero() { // otherwise the caches are good enough
				err = c.acting(ctx, key, seen).confirm(q.confirm)
			}
		}
		switch {
		case err != nil && waits(err):
			retry = shortestBackoff // the cache lags behind: decide again once it shows more
		case err != nil:
			return moved, 0, err
		}
		if retry == 0 {
			return moved, q.wait(seen.Facts, left), nil
		}
		if err := c.Clock.Sleep(ctx, retry); err != nil {
			return moved, 0, err
		}
	}
}

// routesIn is the object that has the routes in the facts; nil where there is none.
func routesIn(f routing.Facts) mesh.Object {
	if vs := observe.IstioIn(f).VirtualService; vs != nil {
		return vs
	}
	return nil
}
