package annotator

import (
	"context"
	"fmt"
	"slices"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/routing"
)

// Precede has the routes lead clients past the subsets that a DestinationRule will take from them: before it is created
// (before is nil), changed, or deleted (after is nil). It returns once every Envoy has been told, or when ctx ends. It
// returns at once where the rule takes nothing from anybody.
func (c *Controller) Precede(ctx context.Context, before, after *networkingv1.DestinationRule) error {
	moved, err := c.precede(ctx, before, after)
	c.r.metrics.preceded(moved, err)
	return err
}

func (c *Controller) precede(ctx context.Context, before, after *networkingv1.DestinationRule) (bool, error) {
	one := after
	if one == nil {
		one = before
	}
	name := one.Namespace + "/" + one.Name
	if c.r.store.Istio() == nil || c.r.confined(one.Namespace) != nil {
		return false, nil // what comes there is never seen
	}
	q := question{
		ask: func(f *routing.Facts) { f.ComingDestinationRules = coming(f.OtherDestinationRules, name, after) },
		why: func(routing.Facts) []string {
			return []string{fmt.Sprintf("DestinationRule %s is about to take the subsets from some clients", name)}
		},
		pause:   c.r.untilBypassed,
		confirm: routing.Derived{VirtualService: true, DestinationRule: true},
		wait: func(f routing.Facts, vs *networkingv1.VirtualService) time.Duration {
			wait, _ := f.Bypassed(vs, c.r.settings)
			return max(0, wait)
		},
	}
	return c.settle(ctx, func() (bool, time.Duration, error) {
		return c.moveAll(ctx, c.touched(name, before, after), "past the subsets before DestinationRule "+name, q)
	})
}

// untilBypassed: routes of a release that begins or ends, or that the caches do not show yet.
func (r *reconciler) untilBypassed(f routing.Facts, d routing.Decision) time.Duration {
	pause := min(d.After, r.settings.Settle)
	switch _, led := f.Bypassed(f.VirtualService, r.settings); {
	case d.DeleteVirtualService:
		return shortest
	case f.VirtualService == nil && f.DestinationRule != nil, !led:
		return pause
	}
	return 0
}

// coming are the rules as they will be; after is nil where the one of that name goes.
func coming(others []*networkingv1.DestinationRule, name string, after *networkingv1.DestinationRule) []*networkingv1.DestinationRule {
	out := []*networkingv1.DestinationRule{}
	for _, o := range others {
		if o.Namespace+"/"+o.Name != name {
			out = append(out, o)
		}
	}
	if after != nil {
		out = append(out, after)
	}
	return out
}

// touched are the Services with a release whose host the rule names, or has named; ours is nobody's business there.
func (c *Controller) touched(name string, before, after *networkingv1.DestinationRule) []types.NamespacedName {
	var out []types.NamespacedName
	for _, rule := range []*networkingv1.DestinationRule{before, after} {
		if rule == nil {
			continue
		}
		for _, key := range observe.AffectedByIstio(c.r.store, rule) {
			if derivedKey(key) != name && observe.HasRoutes(c.r.store, key) && !slices.Contains(out, key) {
				out = append(out, key)
			}
		}
	}
	return out
}
