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

// Drain moves the traffic away from a Deployment before its pods go. It writes routes of its Services that lead
// elsewhere, and returns once every Envoy has them, or when ctx ends. It returns at once where the Deployment gets no
// traffic, or where nothing else can take it.
func (c *Controller) Drain(ctx context.Context, namespace, name string) error {
	moved, err := c.drain(ctx, namespace, name)
	c.metrics.drained(moved, err)
	return err
}

// drain does the work of Drain, and reports whether it moved traffic. It may be called several times for one deletion
// or scaling: the API server asks again after a conflict.
func (c *Controller) drain(ctx context.Context, namespace, name string) (bool, error) {
	q := question{
		add: func(f *routing.Facts) { f.Leaving = []string{name} },
		why: leavingReasons,
		retry: func(f routing.Facts, d routing.Decision) time.Duration {
			if d.After <= c.Settings.Settle && routing.Served(routesIn(f), name) {
				return d.After // the version that could take the traffic has not settled yet
			}
			return 0
		},
		wait: func(f routing.Facts, routes mesh.Object) time.Duration {
			return f.Drained(routes, name, c.Settings)
		},
	}
	return c.settle(ctx, func() (bool, time.Duration, error) {
		o := c.Reader.GetDeployment(namespace, name)
		if o == nil {
			return false, 0, nil
		}
		var keys []types.NamespacedName
		for _, service := range observe.ServicesOf(c.Reader, o) {
			keys = append(keys, types.NamespacedName{Namespace: namespace, Name: service})
		}
		return c.moveAll(ctx, keys, fmt.Sprintf("away from Deployment %s", name), q)
	})
}
