package annotator

import (
	"context"
	"fmt"
	"maps"
	"slices"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"grayscale.dev/grayscale/routing"
)

// routes writes the derived objects in the order that keeps every request served.
func (a *acting) routes(ctx context.Context, d routing.Decision) error {
	f := a.seen.facts
	if want := d.ApplyDestinationRule; want != nil {
		var next client.Object
		if f.DestinationRule != nil {
			moved := f.DestinationRule.DeepCopy()
			overlay(&moved.ObjectMeta, &want.ObjectMeta)
			want.Spec.DeepCopyInto(&moved.Spec)
			next = moved
		}
		if err := a.write(ctx, kindDestinationRule, want.DeepCopy(), f.DestinationRule, next); err != nil {
			return err
		}
	}
	if want := d.ApplyVirtualService; want != nil {
		var next client.Object
		if f.VirtualService != nil {
			moved := f.VirtualService.DeepCopy()
			overlay(&moved.ObjectMeta, &want.ObjectMeta)
			want.Spec.DeepCopyInto(&moved.Spec)
			next = moved
		}
		if err := a.write(ctx, kindVirtualService, want.DeepCopy(), f.VirtualService, next); err != nil {
			return err
		}
	}
	if d.DeleteVirtualService && f.VirtualService != nil {
		if err := a.remove(ctx, kindVirtualService, f.VirtualService.DeepCopy()); err != nil {
			return err
		}
	}
	if d.DeleteDestinationRule && f.DestinationRule != nil {
		return a.remove(ctx, kindDestinationRule, f.DestinationRule.DeepCopy())
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
func (a *acting) write(ctx context.Context, kind string, want, current, next client.Object) error {
	verb, wrote := "created", want
	var err error
	if next == nil {
		err = a.client.Create(ctx, want, client.FieldOwner(routing.FieldManager))
	} else {
		verb, wrote = "moved", next
		err = a.client.Patch(ctx, next, client.MergeFromWithOptions(current, client.MergeFromWithOptimisticLock{}), client.FieldOwner(routing.FieldManager))
	}
	if err != nil {
		return fmt.Errorf("%s %s/%s: %w", kind, want.GetNamespace(), want.GetName(), err)
	}
	a.echoes.wrote(a.key, kind, wrote)
	a.metrics.wrote(kind, verb)
	a.note("%s %s%s", verb, kind, shares(want))
	return nil
}

// shares is what the log says about a VirtualService.
func shares(o client.Object) string {
	vs, ok := o.(*networkingv1.VirtualService)
	if !ok || len(vs.Spec.Http) == 0 {
		return ""
	}
	text := " to"
	for _, to := range vs.Spec.Http[0].Route {
		text += fmt.Sprintf(" %s=%d", to.Destination.GetSubset(), to.Weight)
	}
	return text
}

func (a *acting) remove(ctx context.Context, kind string, o client.Object) error {
	uid, version := o.GetUID(), o.GetResourceVersion()
	err := a.client.Delete(ctx, o, client.Preconditions{UID: &uid, ResourceVersion: &version})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("removing %s %s/%s: %w", kind, o.GetNamespace(), o.GetName(), err)
	}
	a.echoes.removed(a.key, kind, o)
	a.metrics.wrote(kind, "removed")
	a.note("removed %s", kind)
	return nil
}
