package adopt

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

// Patch is one level of a JSON merge patch (RFC 7396): nil removes.
type Patch map[string]any

// At makes the patch valid for that version alone: the API server answers 409 where the object has moved on.
func (p Patch) At(resourceVersion string) Patch {
	metadata, ok := p["metadata"].(Patch)
	if !ok {
		metadata = Patch{}
		p["metadata"] = metadata
	}
	metadata["resourceVersion"] = resourceVersion
	return p
}

// Patcher is the part of a client.Client that writes.
type Patcher interface {
	Patch(ctx context.Context, obj client.Object, patch client.Patch, opts ...client.PatchOption) error
}

// Merge patches an object in place: target takes over what the API server answers.
func Merge(ctx context.Context, c Patcher, target client.Object, change Patch) error {
	raw, err := json.Marshal(change)
	if err != nil {
		return err
	}
	return c.Patch(ctx, target, client.RawPatch(types.MergePatchType, raw), client.FieldOwner(routing.FieldManager))
}

// Deployments writes to Deployments of one namespace. Each write builds on what was seen, or on the write before it,
// and is refused where somebody else wrote in between.
type Deployments struct {
	// Client writes, and Live reads past every cache.
	Client    Patcher
	Live      client.Reader
	Namespace string
	// Known are the Deployments as they were seen, or as they were left since, by name.
	Known map[string]*appsv1.Deployment
	// OnWrite is called after each write.
	OnWrite func(*appsv1.Deployment)
}

// mostTries bounds how often a Deployment is read again because its status was written in between: a rollout writes it
// several times a second.
const mostTries = 5

// Patch changes a known Deployment; one that is not known is gone. Where others have changed only what no decision
// rests on, most often the status, it tries again at once.
func (d *Deployments) Patch(ctx context.Context, name string, change Patch) error {
	if d.Known[name] == nil {
		return nil
	}
	var err error
	for range mostTries {
		target := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: d.Namespace, Name: name}}
		if err = Merge(ctx, d.Client, target, change.At(d.Known[name].ResourceVersion)); err == nil {
			d.Wrote(target)
			return nil
		}
		if !apierrors.IsConflict(err) {
			return err
		}
		before := d.Known[name]
		current, readErr := d.get(ctx, name)
		if readErr != nil || !unchanged(before, current) {
			return err
		}
		d.Known[name] = current
	}
	return err
}

// unchanged reports whether everything that decisions about a Deployment rest on is the same.
func unchanged(before, after *appsv1.Deployment) bool {
	was, is := cluster.Deployment(before), cluster.Deployment(after)
	return was.UID == is.UID && was.SpecPaused == is.SpecPaused && was.Deleting == is.Deleting &&
		maps.Equal(was.Annotations, is.Annotations)
}

// Read reads a Deployment from the API server. What is written to it next builds on that.
func (d *Deployments) Read(ctx context.Context, name string) (*appsv1.Deployment, error) {
	current, err := d.get(ctx, name)
	if err == nil {
		d.Known[name] = current
	}
	return current, err
}

func (d *Deployments) get(ctx context.Context, name string) (*appsv1.Deployment, error) {
	current := &appsv1.Deployment{}
	return current, d.Live.Get(ctx, types.NamespacedName{Namespace: d.Namespace, Name: name}, current)
}

// write changes a Deployment as it was read, in place.
func (d *Deployments) write(ctx context.Context, target *appsv1.Deployment, change Patch) error {
	if err := Merge(ctx, d.Client, target, change.At(target.ResourceVersion)); err != nil {
		return err
	}
	d.Wrote(target)
	return nil
}

// Wrote notes a Deployment as it was left by a write.
func (d *Deployments) Wrote(left *appsv1.Deployment) {
	d.Known[left.Name] = left
	d.OnWrite(left)
}
