package annotator

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/intent"
)

// staleRetry is when to look again after the API server refused what was decided from a cache that lagged behind:
// about the time that a watch event takes.
const staleRetry = 20 * time.Millisecond

// stale: somebody else wrote in between, or our own write has not come back yet.
func stale(err error) bool { return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) }

// act does what was decided, in the order of Decision's fields, and stops at the first error.
func (r *reconciler) act(ctx context.Context, f routing.Facts, d routing.Decision) error {
	namespace := f.Service.Namespace
	for _, m := range d.Label {
		if err := r.adopt(ctx, namespace, m); err != nil {
			return fmt.Errorf("labelling the pods of Deployment %s/%s with version %s: %w", namespace, m.Deployment, m.Version, err)
		}
	}
	if err := r.actOnRoutes(ctx, f, d); err != nil {
		return err
	}
	for _, name := range d.Lift {
		if err := r.lift(ctx, namespace, name); err != nil {
			return fmt.Errorf("lifting the hold of Deployment %s/%s: %w", namespace, name, err)
		}
	}
	for _, a := range d.Annotate {
		if err := r.annotate(ctx, namespace, a); err != nil {
			return fmt.Errorf("annotating Deployment %s/%s with %s: %w", namespace, a.Deployment, a.Key, err)
		}
	}
	for _, s := range d.Status {
		if err := r.status(ctx, namespace, s); err != nil {
			return fmt.Errorf("status of Deployment %s/%s: %w", namespace, s.Deployment, err)
		}
	}
	for _, e := range d.Events {
		r.publish(ctx, namespace, e)
	}
	return nil
}

func (r *reconciler) actOnRoutes(ctx context.Context, f routing.Facts, d routing.Decision) error {
	if d.ApplyDestinationRule != nil {
		if err := r.write(ctx, d.ApplyDestinationRule); err != nil {
			return fmt.Errorf("DestinationRule %s/%s: %w", d.ApplyDestinationRule.Namespace, d.ApplyDestinationRule.Name, err)
		}
	}
	if d.ApplyVirtualService != nil {
		if err := r.write(ctx, d.ApplyVirtualService); err != nil {
			return fmt.Errorf("VirtualService %s/%s: %w", d.ApplyVirtualService.Namespace, d.ApplyVirtualService.Name, err)
		}
	}
	if d.DeleteVirtualService {
		if err := r.remove(ctx, f.VirtualService); err != nil {
			return fmt.Errorf("removing VirtualService %s/%s: %w", f.VirtualService.Namespace, f.VirtualService.Name, err)
		}
	}
	if d.DeleteDestinationRule {
		if err := r.remove(ctx, f.DestinationRule); err != nil {
			return fmt.Errorf("removing DestinationRule %s/%s: %w", f.DestinationRule.Namespace, f.DestinationRule.Name, err)
		}
	}
	return nil
}

// write creates or applies a derived object. The resourceVersion in it makes the API server refuse what was decided from
// a stale copy; without one the object must not exist yet.
func (r *reconciler) write(ctx context.Context, o client.Object) error {
	r.metrics.wrote(o)
	if o.GetResourceVersion() == "" {
		return r.cached.Create(ctx, o, client.FieldOwner(routing.FieldManager))
	}
	raw, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return r.cached.Patch(ctx, o, client.RawPatch(types.ApplyPatchType, raw), client.FieldOwner(routing.FieldManager), client.ForceOwnership)
}

func (r *reconciler) remove(ctx context.Context, o client.Object) error {
	r.metrics.wrote(o)
	version := o.GetResourceVersion()
	err := r.cached.Delete(ctx, o, client.Preconditions{ResourceVersion: &version})
	return client.IgnoreNotFound(err)
}

func (r *reconciler) patch(ctx context.Context, namespace, name string, change any) error {
	raw, err := json.Marshal(change)
	if err != nil {
		return err
	}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	return client.IgnoreNotFound(r.cached.Patch(ctx, d, client.RawPatch(types.MergePatchType, raw), client.FieldOwner(routing.FieldManager)))
}

// object is one level of a merge patch (RFC 7396): nil removes.
type object map[string]any

func (r *reconciler) lift(ctx context.Context, namespace, name string) error {
	r.metrics.lifted()
	return r.patch(ctx, namespace, name, object{
		"metadata": object{"annotations": object{intent.KeyHeld: nil}}, "spec": object{"paused": nil}})
}

func (r *reconciler) annotate(ctx context.Context, namespace string, a routing.Annotation) error {
	return r.patch(ctx, namespace, a.Deployment, object{"metadata": object{"annotations": object{a.Key: a.Value}}})
}

// status applies exactly our conditions; one that keeps its status keeps its time. Server-side apply removes those of
// ours that are no longer named, and leaves the Deployment controller's alone.
func (r *reconciler) status(ctx context.Context, namespace string, s routing.Status) error {
	d := &appsv1.Deployment{}
	if err := r.cached.Get(ctx, types.NamespacedName{Namespace: namespace, Name: s.Deployment}, d); err != nil {
		return client.IgnoreNotFound(err)
	}
	now := metav1.NewTime(r.now())
	conditions := []object{}
	for _, c := range s.Conditions {
		since := now
		i := slices.IndexFunc(d.Status.Conditions, func(o appsv1.DeploymentCondition) bool { return string(o.Type) == c.Type })
		if i >= 0 && string(d.Status.Conditions[i].Status) == c.Status {
			since = d.Status.Conditions[i].LastTransitionTime
		}
		conditions = append(conditions, object{"type": c.Type, "status": c.Status, "reason": c.Reason, "message": c.Message,
			"lastTransitionTime": since, "lastUpdateTime": now})
	}
	raw, err := json.Marshal(object{"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": object{"name": s.Deployment, "namespace": namespace, "uid": d.UID}, "status": object{"conditions": conditions}})
	if err != nil {
		return err
	}
	target := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: s.Deployment}}
	err = r.cached.Status().Patch(ctx, target, client.RawPatch(types.ApplyPatchType, raw), client.FieldOwner(routing.FieldManager), client.ForceOwnership)
	return client.IgnoreNotFound(err)
}

const mostEventNote = 1024 // events.k8s.io/v1 Event.note: at most 1 kB

func (r *reconciler) publish(ctx context.Context, namespace string, e routing.Event) {
	d := &appsv1.Deployment{}
	if err := r.cached.Get(ctx, types.NamespacedName{Namespace: namespace, Name: e.Deployment}, d); err != nil {
		return // gone: nobody is left to tell
	}
	note := e.Message
	if len(note) > mostEventNote {
		note = strings.ToValidUTF8(note[:mostEventNote-3], "") + "..."
	}
	d.APIVersion, d.Kind = "apps/v1", "Deployment"
	r.events.Eventf(d, nil, e.Type, e.Reason, "Release", "%s", note)
}

// summary is the log's line for a decision; empty where nothing was done.
func summary(d routing.Decision) string {
	var did []string
	note := func(yes bool, what string, args ...any) {
		if yes {
			did = append(did, fmt.Sprintf(what, args...))
		}
	}
	for _, m := range d.Label {
		note(true, "labelled %s with version %s", m.Deployment, m.Version)
	}
	note(d.ApplyDestinationRule != nil, "wrote the DestinationRule")
	note(d.ApplyVirtualService != nil, "wrote the VirtualService")
	note(d.DeleteVirtualService, "removed the VirtualService")
	note(d.DeleteDestinationRule, "removed the DestinationRule")
	note(len(d.Lift) > 0, "lifted the hold of %s", strings.Join(d.Lift, ", "))
	for _, e := range d.Events {
		note(true, "%s: %s", e.Deployment, e.Message)
	}
	return strings.Join(did, "; ")
}
