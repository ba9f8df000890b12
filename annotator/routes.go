package annotator

import (
	"fmt"
	"maps"
	"slices"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/routing"
)

// promptly: a write that follows its decision within this fraction of Settings.Settle makes the times in it count.
const promptly = 10

// apply creates a derived object, or changes the existing one.
func (a *acting) apply(w routing.Write) error {
	m := observe.IstioIn(a.seen.Facts)
	switch want := w.Object.(type) {
	case *networkingv1.VirtualService:
		next := m.VirtualService.DeepCopy()
		if next != nil {
			overlay(&next.ObjectMeta, &want.ObjectMeta)
			want.Spec.DeepCopyInto(&next.Spec)
		}
		if err := a.write(kindVirtualService, want.DeepCopy(), orNil(m.VirtualService), orNil(next)); err != nil {
			return err
		}
		a.routed = true
		return nil
	case *networkingv1.DestinationRule:
		next := m.DestinationRule.DeepCopy()
		if next != nil {
			overlay(&next.ObjectMeta, &want.ObjectMeta)
			want.Spec.DeepCopyInto(&next.Spec)
		}
		return a.write(kindDestinationRule, want.DeepCopy(), orNil(m.DestinationRule), orNil(next))
	}
	return fmt.Errorf("a derived object of the unknown type %T", w.Object)
}

// overlay adds our labels, annotations and owner to the existing ones. Those of others stay.
func overlay(have, want *metav1.ObjectMeta) {
	have.Labels, have.Annotations = merged(have.Labels, want.Labels), merged(have.Annotations, want.Annotations)
	for _, owner := range want.OwnerReferences {
		have.OwnerReferences = slices.DeleteFunc(have.OwnerReferences, func(o metav1.OwnerReference) bool {
			return o.Kind == owner.Kind && o.Name == owner.Name // may be of a deleted Service with the same name
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

// write creates want where there is no object yet. Otherwise it changes the object to next, with a merge patch bound to
// the version that was decided from. Server-side apply would not do: the fields of a created object belong to the
// create's entry in managedFields for ever, so apply would never remove one, nor one that a user added to our spec.
func (a *acting) write(kind string, want, current, next client.Object) error {
	ctx, cancel := a.inTime()
	defer cancel()
	verb, wrote := verbCreated, want
	var err error
	if next == nil {
		err = a.Client.Create(ctx, want, client.FieldOwner(routing.FieldManager))
	} else {
		verb, wrote = verbMoved, next
		bound := client.MergeFromWithOptions(current, client.MergeFromWithOptimisticLock{})
		err = a.Client.Patch(ctx, next, bound, client.FieldOwner(routing.FieldManager))
	}
	if err != nil {
		return fmt.Errorf("%s %s/%s: %w", kind, want.GetNamespace(), want.GetName(), a.late(ctx, err))
	}
	a.expectations.wrote(a.key, kind, wrote)
	if a.Clock.Now().Sub(a.seen.Facts.Now) < a.Settings.Settle/promptly {
		a.firstSeen.Wrote(a.key, kind, wrote.GetResourceVersion())
	}
	restored := a.history != nil && a.history.edited(kind, derivedObject(a.seen.Facts, kind))
	a.metrics.wrote(kind, verb, restored)
	a.wrote[kind] = wrote
	a.note("%s %s %s", verb, kind, want.GetName())
	return nil
}

// remove deletes a derived object, in the version that was decided from.
func (a *acting) remove(w routing.Write) error {
	o, ok := w.Object.DeepCopyObject().(client.Object)
	if !ok {
		return fmt.Errorf("a derived object of the unknown type %T", w.Object)
	}
	kind := kindDestinationRule
	if w.Part == routing.Routes {
		kind = kindVirtualService
	}
	ctx, cancel := a.inTime()
	defer cancel()
	uid, version := o.GetUID(), o.GetResourceVersion()
	err := a.Client.Delete(ctx, o, client.Preconditions{UID: &uid, ResourceVersion: &version})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("removing %s %s/%s: %w", kind, o.GetNamespace(), o.GetName(), a.late(ctx, err))
	}
	a.expectations.removed(a.key, kind, o)
	a.metrics.wrote(kind, verbRemoved, false)
	a.wrote[kind] = nil
	a.note("%s %s %s", verbRemoved, kind, o.GetName())
	return nil
}
