package annotator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/mesh"
)

// confirm reads objects past the caches, and fails with errStale unless they are the ones that were decided from.
func (a *acting) confirm(which routing.Basis) error {
	a.confirmed = a.Clock.Now().Add(a.Settings.Settle / 2)
	m := observe.IstioIn(a.seen.Facts)
	var reads []func(context.Context) error
	read := func(service, kind, version string) {
		key := types.NamespacedName{Namespace: a.key.Namespace, Name: mesh.Name(service)}
		reads = append(reads, func(ctx context.Context) error { return a.same(ctx, key, kind, version) })
	}
	if which.Routes {
		read(a.key.Name, kindVirtualService, observe.VersionOf(m.VirtualService))
	}
	if which.Subsets {
		read(a.key.Name, kindDestinationRule, observe.VersionOf(m.DestinationRule))
	}
	if which.OtherRules {
		reads = append(reads, a.sameRules)
	}
	for _, b := range a.seen.Facts.Beside {
		if slices.Contains(which.Beside, b.Service.Name) {
			read(b.Service.Name, kindVirtualService, observe.VersionOf(observe.IstioIn(b).VirtualService))
		}
	}
	return a.send(a.ctx, reads)
}

// same fails with errStale where the object's version is not the one that was seen. An object that does not exist has
// the empty version.
func (a *acting) same(ctx context.Context, key types.NamespacedName, kind, seen string) error {
	into := &metav1.PartialObjectMetadata{}
	into.SetGroupVersionKind(networkingv1.SchemeGroupVersion.WithKind(kind))
	if err := a.Live.Get(ctx, key, into); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("%s %s: %w", kind, key, err)
	}
	if live := into.GetResourceVersion(); live != seen {
		return fmt.Errorf("the cache has %s %s in version %q, the API server in version %q: %w",
			kind, key, seen, live, errStale)
	}
	return nil
}

// sameRules fails with errStale where the users' DestinationRules that can hide subsets from the clients of a bypass
// are not the ones that were seen.
func (a *acting) sameRules(ctx context.Context) error {
	namespaces := a.bypassed()
	seen, live := map[string]string{}, map[string]string{}
	for _, o := range observe.IstioIn(a.seen.Facts).OtherDestinationRules {
		if slices.Contains(namespaces, o.Namespace) {
			seen[o.Namespace+"/"+o.Name] = o.ResourceVersion
		}
	}
	for _, namespace := range namespaces {
		if a.Confined(namespace) != nil {
			continue
		}
		list := &networkingv1.DestinationRuleList{}
		if err := a.Live.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return fmt.Errorf("the DestinationRules of namespace %s: %w", namespace, err)
		}
		for _, o := range list.Items {
			if istio.IsAbout(o, a.seen.Facts.Service, a.Settings.ClusterDomain) && o.Namespace+"/"+o.Name != derivedKey(a.key) {
				live[o.Namespace+"/"+o.Name] = o.ResourceVersion
			}
		}
	}
	if !maps.Equal(seen, live) {
		return fmt.Errorf("the cache has the DestinationRules %v, the API server %v: %w", seen, live, errStale)
	}
	return nil
}

// bypassed are the namespaces whose DestinationRules can hide subsets from clients, sorted: the Service's own, the root
// namespace, and those of the bypasses in the routes.
func (a *acting) bypassed() []string {
	namespaces := map[string]bool{a.key.Namespace: true, a.Settings.RootNamespace: true}
	if vs := observe.IstioIn(a.seen.Facts).VirtualService; vs != nil {
		st, _ := mesh.ReadState(vs)
		for _, b := range st.Bypasses {
			namespaces[b.Namespace] = true
		}
	}
	delete(namespaces, "") // stands for all namespaces
	return slices.Sorted(maps.Keys(namespaces))
}

// inTime bounds a write of a derived object to the time for which what was confirmed holds.
func (a *acting) inTime() (context.Context, context.CancelFunc) {
	if a.confirmed.IsZero() {
		return a.ctx, func() {}
	}
	return a.Clock.WithTimeout(a.ctx, a.confirmed.Sub(a.Clock.Now()))
}

// late marks a write with errStale where it was given up because what was confirmed may no longer hold.
func (a *acting) late(ctx context.Context, err error) error {
	if ctx.Err() != nil && a.ctx.Err() == nil {
		return errors.Join(errStale, err)
	}
	return err
}
