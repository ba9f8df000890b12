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
)

// promptly is the part of Settings.Settle within which a write has to follow its decision for the times in it to count.
const promptly = 10

// Confirm reads derived objects past the caches: they have to be those that were decided from.
func (a *acting) Confirm(which routing.Derived) error {
	a.confirmed = a.clock.Now().Add(a.settings.Settle / 2)
	f, key := a.seen.Facts, types.NamespacedName{Namespace: a.key.Namespace, Name: istio.Name(a.key.Name)}
	var reads []func(context.Context) error
	if which.VirtualService {
		reads = append(reads, func(ctx context.Context) error {
			return a.same(ctx, key, kindVirtualService, observe.VersionOf(f.VirtualService))
		})
	}
	if which.DestinationRule {
		reads = append(reads, func(ctx context.Context) error {
			return a.same(ctx, key, kindDestinationRule, observe.VersionOf(f.DestinationRule))
		})
	}
	if which.OtherRules {
		reads = append(reads, a.sameRules)
	}
	for _, b := range f.Beside {
		if slices.Contains(which.Beside, b.Service.Name) {
			beside := types.NamespacedName{Namespace: a.key.Namespace, Name: istio.Name(b.Service.Name)}
			reads = append(reads, func(ctx context.Context) error {
				return a.same(ctx, beside, kindVirtualService, observe.VersionOf(b.VirtualService))
			})
		}
	}
	return a.send(a.ctx, reads)
}

// sameRules fails with errStale where the users' DestinationRules that can take subsets from the clients of a bypass are not those
// that were seen.
func (a *acting) sameRules(ctx context.Context) error {
	f := a.seen.Facts
	namespaces := map[string]bool{a.key.Namespace: true, a.settings.RootNamespace: true}
	if f.VirtualService != nil {
		st, _ := istio.ReadState(f.VirtualService)
		for _, b := range st.Bypasses {
			namespaces[b.Namespace] = true
		}
	}
	delete(namespaces, "") // stands for everybody
	seen, live := map[string]string{}, map[string]string{}
	for _, o := range f.OtherDestinationRules {
		if namespaces[o.Namespace] {
			seen[o.Namespace+"/"+o.Name] = o.ResourceVersion
		}
	}
	for _, namespace := range slices.Sorted(maps.Keys(namespaces)) {
		if a.confined(namespace) != nil {
			continue
		}
		list := &networkingv1.DestinationRuleList{}
		if err := a.live.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return fmt.Errorf("the DestinationRules of namespace %s: %w", namespace, err)
		}
		for _, o := range list.Items {
			if istio.IsAbout(o, f.Service, a.settings.ClusterDomain) && o.Namespace+"/"+o.Name != derivedKey(a.key) {
				live[o.Namespace+"/"+o.Name] = o.ResourceVersion
			}
		}
	}
	if !maps.Equal(seen, live) {
		return fmt.Errorf("the cache has the DestinationRules %v, the API server %v: %w", seen, live, errStale)
	}
	return nil
}

// same fails with errStale where the object has another version than was seen; none is the empty one.
func (a *acting) same(ctx context.Context, key types.NamespacedName, kind, seen string) error {
	into := &metav1.PartialObjectMetadata{}
	into.SetGroupVersionKind(networkingv1.SchemeGroupVersion.WithKind(kind))
	if err := a.live.Get(ctx, key, into); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("%s %s: %w", kind, key, err)
	}
	if into.GetResourceVersion() != seen {
		return fmt.Errorf("the cache has %s %s in version %q, the API server in version %q: %w", kind, key, seen, into.GetResourceVersion(), errStale)
	}
	return nil
}

// inTime bounds a write of a derived object: what was confirmed may not hold for longer.
func (a *acting) inTime() (context.Context, context.CancelFunc) {
	if a.confirmed.IsZero() {
		return a.ctx, func() {}
	}
	return a.clock.WithTimeout(a.ctx, a.confirmed.Sub(a.clock.Now()))
}

// late tells a write that was given up, because what was confirmed may not hold any more, from one that failed.
func (a *acting) late(ctx context.Context, err error) error {
	if ctx.Err() != nil && a.ctx.Err() == nil {
		return errors.Join(errStale, err)
	}
	return err
}

// ApplyDestinationRule creates the rule, or moves what is there.
func (a *acting) ApplyDestinationRule(want *networkingv1.DestinationRule) error {
	var next client.Object
	current := a.seen.Facts.DestinationRule
	if current != nil {
		moved := current.DeepCopy()
		overlay(&moved.ObjectMeta, &want.ObjectMeta)
		want.Spec.DeepCopyInto(&moved.Spec)
		next = moved
	}
	return a.write(kindDestinationRule, want.DeepCopy(), current, next)
}

// ApplyVirtualService creates the routes, or moves what is there.
func (a *acting) ApplyVirtualService(want *networkingv1.VirtualService) error {
	var next client.Object
	current := a.seen.Facts.VirtualService
	if current != nil {
		moved := current.DeepCopy()
		overlay(&moved.ObjectMeta, &want.ObjectMeta)
		want.Spec.DeepCopyInto(&moved.Spec)
		next = moved
	}
	if err := a.write(kindVirtualService, want.DeepCopy(), current, next); err != nil {
		return err
	}
	a.routed = true
	return nil
}

// DeleteVirtualService removes the routes that were decided from.
func (a *acting) DeleteVirtualService() error {
	if vs := a.seen.Facts.VirtualService; vs != nil {
		return a.remove(kindVirtualService, vs.DeepCopy())
	}
	return nil
}

// DeleteDestinationRule removes the rule that was decided from.
func (a *acting) DeleteDestinationRule() error {
	if dr := a.seen.Facts.DestinationRule; dr != nil {
		return a.remove(kindDestinationRule, dr.DeepCopy())
	}
	return nil
}

// overlay puts our labels, annotations and owner over what is there; those of others stay.
func overlay(have, want *metav1.ObjectMeta) {
	have.Labels, have.Annotations = merged(have.Labels, want.Labels), merged(have.Annotations, want.Annotations)
	for _, owner := range want.OwnerReferences {
		have.OwnerReferences = slices.DeleteFunc(have.OwnerReferences, func(o metav1.OwnerReference) bool {
			return o.Kind == owner.Kind && o.Name == owner.Name // of a Service that was deleted and created again
		})
		have.OwnerReferences = append(have.OwnerReferences, owner)
	}
}

func merged(have, want map[string]string) map[string]string {
	out := maps.Clone(have)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, want)
	return out
}

// write creates want where nothing is there yet, else moves what is there to next. That is a merge patch bound to the
// version that was decided from, and not server-side apply: the fields of an object that was created belong to the
// create's entry in managedFields for good, so apply would never remove one, nor one that a user put into our spec.
func (a *acting) write(kind string, want, current, next client.Object) error {
	ctx, cancel := a.inTime()
	defer cancel()
	verb, wrote := verbCreated, want
	var err error
	if next == nil {
		err = a.client.Create(ctx, want, client.FieldOwner(routing.FieldManager))
	} else {
		verb, wrote = verbMoved, next
		err = a.client.Patch(ctx, next, client.MergeFromWithOptions(current, client.MergeFromWithOptimisticLock{}), client.FieldOwner(routing.FieldManager))
	}
	if err != nil {
		return fmt.Errorf("%s %s/%s: %w", kind, want.GetNamespace(), want.GetName(), a.late(ctx, err))
	}
	a.echoes.wrote(a.key, kind, wrote)
	if a.clock.Now().Sub(a.seen.Facts.Now) < a.settings.Settle/promptly {
		a.firstSeen.Wrote(a.key, kind, wrote.GetResourceVersion())
	}
	restored := a.past != nil && a.past.edited(kind, derivedObject(a.seen.Facts, kind))
	a.metrics.wrote(kind, verb, restored)
	a.wrote[kind] = wrote
	a.note("%s %s %s", verb, kind, want.GetName())
	return nil
}

func (a *acting) remove(kind string, o client.Object) error {
	ctx, cancel := a.inTime()
	defer cancel()
	uid, version := o.GetUID(), o.GetResourceVersion()
	err := a.client.Delete(ctx, o, client.Preconditions{UID: &uid, ResourceVersion: &version})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("removing %s %s/%s: %w", kind, o.GetNamespace(), o.GetName(), a.late(ctx, err))
	}
	a.echoes.removed(a.key, kind, o)
	a.metrics.wrote(kind, verbRemoved, false)
	a.wrote[kind] = nil
	a.note("%s %s %s", verbRemoved, kind, o.GetName())
	return nil
}
