package annotator

import (
	"context"
	"encoding/json"
	"maps"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/cluster"
)

// object is one level of a JSON merge patch (RFC 7396): nil removes.
type object map[string]any

// at makes the patch valid for that version alone; the API server answers 409 where the object has moved on.
func (o object) at(resourceVersion string) object {
	metadata, ok := o["metadata"].(object)
	if !ok {
		metadata = object{}
		o["metadata"] = metadata
	}
	metadata["resourceVersion"] = resourceVersion
	return o
}

// merge patches an object in place: target takes over what the API server answers.
func (r *reconciler) merge(ctx context.Context, target client.Object, change object) error {
	raw, err := json.Marshal(change)
	if err != nil {
		return err
	}
	return r.client.Patch(ctx, target, client.RawPatch(types.MergePatchType, raw), client.FieldOwner(routing.FieldManager))
}

// mostTries bounds how often a Deployment is read again because its status was written in between: a rollout writes it
// several times a second.
const mostTries = 5

// patchDeployment changes a Deployment as it was seen, or as we left it since. Where only others' fields have changed
// meanwhile, most often the status, it is tried again at once; where it is not what was decided from, it is refused.
func (a *acting) patchDeployment(ctx context.Context, name string, change object) error {
	if a.known[name] == nil {
		return nil // gone, or none of the Service's
	}
	var err error
	for range mostTries {
		target := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: a.key.Namespace, Name: name}}
		if err = a.merge(ctx, target, change.at(a.known[name].ResourceVersion)); err == nil {
			a.wroteDeployment(target)
			return nil
		}
		if !apierrors.IsConflict(err) {
			return err
		}
		if current := a.unchanged(ctx, name); current != nil {
			a.known[name] = current
		} else {
			return err
		}
	}
	return err
}

// unchanged reads the Deployment anew and gives it where nothing has changed that decisions about it rest on.
func (a *acting) unchanged(ctx context.Context, name string) *appsv1.Deployment {
	current := &appsv1.Deployment{}
	if err := a.live.Get(ctx, types.NamespacedName{Namespace: a.key.Namespace, Name: name}, current); err != nil {
		return nil
	}
	was, is := cluster.Deployment(a.known[name]), cluster.Deployment(current)
	if was.UID != is.UID || was.SpecPaused != is.SpecPaused || was.Deleting != is.Deleting || !maps.Equal(was.Annotations, is.Annotations) {
		return nil
	}
	return current
}

func (a *acting) wroteDeployment(d *appsv1.Deployment) {
	a.known[d.Name] = d
	a.echoes.wrote(a.key, kindDeployment, d)
}
