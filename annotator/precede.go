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
	"grayscale.dev/grayscale/routing/mesh"
)

// Precede changes routes so that they bypass the subsets that a DestinationRule is about to hide from clients: before
// it is created (before is nil), changed, or deleted (after is nil). It returns once every Envoy has the routes, or
// when ctx ends. It returns at once where the rule hides no subsets.
func (c *Controller) Precede(ctx context.Context, before, after *networkingv1.DestinationRule) error {
	moved, err := c.precede(ctx, before, after)
	c.metrics.preceded(moved, err)
	return err
}

func (c *Controller) precede(ctx context.Context, before, after *networkingv1.DestinationRule) (bool, error) {
	one := after
	if one == nil {
		one = before
	}
	name := one.Namespace + "/" + one.Name
	if c.Reader.Istio() == nil || c.Confined(one.Namespace) != nil {
		return false, nil // DestinationRules there are not watched
	}
	q := question{
		add: func(f *routing.Facts) {
			m := observe.IstioIn(*f)
			m.ComingDestinationRules = coming(m.OtherDestinationRules, name, after)
			f.Mesh = m
		},
		why: func(routing.Facts) []string {
			return []string{fmt.Sprintf("DestinationRule %s is about to take the subsets from some clients", name)}
		},
		retry:   c.untilBypassed,
		confirm: routing.Basis{Routes: true, Subsets: true},
		wait: func(f routing.Facts, routes mesh.Object) time.Duration {
			wait, _ := f.Bypassed(routes, c.Settings)
			return max(0, wait)
		},
	}
	return c.settle(ctx, func() (bool, time.Duration, error) {
		return c.moveAll(ctx, c.touched(name, before, after), "past the subsets before DestinationRule "+name, q)
	})
}

// untilBypassed is how long to wait before the next try: where a release begins and its routes are not written yet,
// where it ends and they still exist, or where the caches do not show the bypass yet. It is zero elsewhere.
func (c *Controller) untilBypassed(f routing.Facts, d routing.Decision) time.Duration {
	m := observe.IstioIn(f)
	_, ends := d.Find(routing.Delete, routing.Routes)
	switch _, led := f.Bypassed(routesIn(f), c.Settings); {
	case ends:
		return shortestBackoff
	case m.VirtualService == nil && m.DestinationRule != nil, !led:
		return min(d.After, c.Settings.Settle)
	}
	return 0
}

type rules = []*networkingv1.DestinationRule

// coming are the rules as they will be; after is nil where the rule of that name is deleted.
func coming(others rules, name string, after *networkingv1.DestinationRule) rules {
	out := rules{}
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

// touched are the Services with a release whose host the rule names, before or after the change. The rule that is
// derived from a Service does not count for it.
func (c *Controller) touched(name string, before, after *networkingv1.DestinationRule) []types.NamespacedName {
	var out []types.NamespacedName
	for _, rule := range (rules{before, after}) {
		if rule == nil {
			continue
		}
		for _, key := range observe.AffectedByIstio(c.Reader, rule) {
			if derivedKey(key) != name && observe.HasRoutes(c.Reader, key) && !slices.Contains(out, key) {
				out = append(out, key)
			}
		}
	}
	return out
}
