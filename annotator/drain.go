package annotator

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

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
	anyMoved := false
	for {
		moved, wait, err := c.moveAway(ctx, namespace, name)
		anyMoved = anyMoved || moved
		if err != nil || wait == 0 {
			return anyMoved, err
		}
		// Meanwhile the announcement may be lost, with routes that somebody deletes, and traffic be led back: it is looked at again.
		if err := sleep(ctx, wait); err != nil {
			return anyMoved, err
		}
	}
}

// moveAway writes the routes of the Deployment's Services where that is needed, and gives how long it takes until every Envoy has them.
func (c *Controller) moveAway(ctx context.Context, namespace, name string) (anyMoved bool, longest time.Duration, err error) {
	o, ok := c.r.store.deployments.get(namespace + "/" + name)
	if !ok {
		return false, 0, nil
	}
	for _, service := range c.r.store.homes(o) {
		moved, wait, err := c.r.drain(ctx, types.NamespacedName{Namespace: namespace, Name: service}, name)
		if err != nil {
			return anyMoved, 0, fmt.Errorf("moving the traffic of Service %s/%s away from Deployment %s: %w", namespace, service, name, err)
		}
		anyMoved, longest = anyMoved || moved, max(longest, wait)
	}
	return anyMoved, longest, nil
}

// drain writes one Service's route where that is needed, and gives how long it takes until every Envoy has it.
func (r *reconciler) drain(ctx context.Context, key types.NamespacedName, name string) (moved bool, wait time.Duration, err error) {
	for {
		seen := r.observe(key)
		seen.facts.Leaving = []string{name}
		decision := routing.Decide(seen.facts, r.settings)
		left, pause := seen.facts.VirtualService, time.Duration(0)
		if decision.ApplyVirtualService != nil && left != nil {
			left = decision.ApplyVirtualService
			a := r.acting(ctx, key, seen)
			a.why = func() []string { return leavingWhy(seen.facts) }
			err := a.act(decision.Routes())
			switch {
			case waits(err):
				pause = shortest // the cache lags behind; what it shows next is decided anew
			case err != nil:
				return moved, 0, err
			default:
				moved = true
			}
		} else if decision.After <= r.settings.Settle && routing.Served(left, name) {
			pause = decision.After // whoever could take the traffic has not settled yet
		}
		if pause == 0 {
			return moved, seen.facts.Drained(left, name, r.settings), nil
		}
		if err := sleep(ctx, pause); err != nil {
			return moved, 0, err
		}
	}
}

func sleep(ctx context.Context, wait time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
		return nil
	}
}
