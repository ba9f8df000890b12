package annotator

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/routing"
)

// Drain moves the traffic away from a Deployment before its pods go: it has the routes of its Services lead elsewhere,
// and returns once every Envoy has been told, or when ctx ends. It returns at once where the Deployment gets no traffic, or
// where nobody else can take it.
func (c *Controller) Drain(ctx context.Context, namespace, name string) error {
	o, ok := get[*appsv1.Deployment](c.r.store.deployments, namespace+"/"+name)
	if !ok {
		return nil
	}
	var longest time.Duration
	for _, service := range c.r.store.homes(o) {
		wait, err := c.r.drain(ctx, types.NamespacedName{Namespace: namespace, Name: service}, name)
		if err != nil {
			return fmt.Errorf("moving the traffic of Service %s/%s away from Deployment %s: %w", namespace, service, name, err)
		}
		longest = max(longest, wait)
	}
	return sleep(ctx, longest)
}

// drain writes one Service's route where that is needed, and gives how long it takes until every Envoy has it.
func (r *reconciler) drain(ctx context.Context, key types.NamespacedName, name string) (time.Duration, error) {
	for {
		seen := r.observe(key)
		seen.facts.Leaving = []string{name}
		decision := routing.Decide(seen.facts, r.settings)
		left := seen.facts.VirtualService
		if decision.ApplyVirtualService != nil && left != nil {
			left = decision.ApplyVirtualService
			err := r.act(ctx, key, seen, routing.Decision{ApplyVirtualService: left, Events: decision.Events})
			if apierrors.IsConflict(err) { // the cache lags behind; what it shows next is decided anew
				if err := sleep(ctx, shortest); err != nil {
					return 0, err
				}
				continue
			}
			if err != nil {
				return 0, err
			}
		}
		return routing.Drained(left, name, r.now().UTC(), r.settings), nil
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
