package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	applyappsv1 "k8s.io/client-go/applyconfigurations/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"grayscale.dev/grayscale/routing/release"
)

// apiClient is the product's client of the API server, which it reads and writes past its caches. It knows what the
// product sends and nothing else: anything more panics, and is to be added here.
type apiClient struct {
	client.Client // none: what is not overridden is never called
	r             *replica
}

// How long a request is on its way, at most.
const (
	mostRead  = 3 * time.Millisecond
	mostWrite = 12 * time.Millisecond
)

// errUnserved is the API server's answer about kinds that it does not know, as errNotFound is about objects.
func (a apiClient) answer(k kind, name string, err error) error {
	resource := schema.GroupResource{Resource: kindNames[k]}
	switch {
	case errors.Is(err, errConflict):
		return apierrors.NewConflict(resource, name, err)
	case errors.Is(err, errExists):
		return apierrors.NewAlreadyExists(resource, name)
	case errors.Is(err, errNotFound), errors.Is(err, errUnserved):
		return apierrors.NewNotFound(resource, name)
	}
	return err
}

// read waits until a request has come to the API server.
func (a apiClient) read(ctx context.Context) error {
	w := a.r.w
	if err := errors.Join(w.running.pause(w.between(time.Millisecond, mostRead)), ctx.Err()); err != nil {
		return err
	}
	return a.refused()
}

func (a apiClient) refused() error {
	if a.r.w.now < a.r.refused {
		return apierrors.NewInternalError(errServer)
	}
	return nil
}

var errServer = errors.New("the API server answers with an error")

// write makes one write, unless the process dies at it, stands still for too long, or the API server does not answer.
func (a apiClient) write(ctx context.Context, do func(api *api, by string) error) error {
	r, w, c := a.r, a.r.w, a.r.w.running
	if err := c.pause(w.between(time.Millisecond, mostWrite)); err != nil {
		return err
	}
	for r.halts() {
		if err := c.pause(0); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	crashes := false
	if r.crash.in > 0 {
		r.crash.in--
		crashes = r.crash.in == 0
	}
	err := a.refused()
	if err == nil && (!crashes || r.crash.after) {
		w.judge.deciding = c.sight
		err = do(w.api, r.name)
		w.judge.deciding = nil
	}
	if crashes {
		r.die()
		return errDead
	}
	return err
}

// Get reads an object.
func (a apiClient) Get(ctx context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	if err := a.read(ctx); err != nil {
		return err
	}
	api := a.r.w.api
	switch into := into.(type) {
	case *appsv1.Deployment:
		d, ok := get[*deployment](api.list(deployments), key.Name)
		if !ok {
			return a.answer(deployments, key.Name, errNotFound)
		}
		*into = *d.kube()
		a.r.w.mutation.answers(into)
	case *metav1.PartialObjectMetadata:
		return a.getMeta(key, into)
	case *admissionregistrationv1.MutatingWebhookConfiguration:
		into.Name, into.Webhooks = key.Name, make([]admissionregistrationv1.MutatingWebhook, 1) // it is not being uninstalled
	default:
		return fmt.Errorf("the simulator has no %T", into)
	}
	return nil
}

// getMeta reads one of Istio's objects, without its spec.
func (a apiClient) getMeta(key client.ObjectKey, into *metav1.PartialObjectMetadata) error {
	k := virtualServices
	if into.Kind == kindNames[destinationRules] {
		k = destinationRules
	}
	o := find(a.truth(k), key.Name)
	if o == nil {
		return a.answer(k, key.Name, errNotFound)
	}
	into.ResourceVersion, into.UID = strconv.FormatInt(o.id().version, 10), metaOf(o).UID
	return nil
}

// truth is what confirming reads read past the cache.
func (a apiClient) truth(k kind) []object {
	if a.r.w.mutation.unconfirmed {
		return a.r.cache.tables[k]
	}
	return a.r.w.api.list(k)
}

// List reads the objects of a namespace.
func (a apiClient) List(ctx context.Context, into client.ObjectList, opts ...client.ListOption) error {
	if err := a.read(ctx); err != nil {
		return err
	}
	var o client.ListOptions
	o.ApplyOptions(opts)
	api := a.r.w.api
	switch into := into.(type) {
	case *appsv1.ReplicaSetList:
		for _, s := range sorted(api.list(replicaSets)) {
			if set := *s.(*replicaSet).kube(); o.LabelSelector.Matches(labels.Set(set.Labels)) {
				a.r.w.mutation.answers(&set)
				into.Items = append(into.Items, set)
			}
		}
	case *corev1.PodList:
		for _, p := range sorted(api.list(pods)) {
			if p := *p.(*pod).kube(); o.LabelSelector.Matches(labels.Set(p.Labels)) {
				into.Items = append(into.Items, p)
			}
		}
	case *networkingv1.DestinationRuleList:
		for _, dr := range sorted(a.truth(destinationRules)) {
			if dr := dr.(*destinationRule).spec; dr.Namespace == o.Namespace {
				into.Items = append(into.Items, dr)
			}
		}
	default:
		return fmt.Errorf("the simulator has no %T", into)
	}
	return nil
}

// sorted is a table in the order of a list.
func sorted(table []object) []object {
	byName := func(a, b object) int { return strings.Compare(a.id().name, b.id().name) }
	return slices.SortedFunc(slices.Values(table), byName)
}

// Create creates a derived object.
func (a apiClient) Create(ctx context.Context, o client.Object, _ ...client.CreateOption) error {
	stored := derivedObject(o, identity{name: o.GetName()})
	return a.put(ctx, o, stored, func(api *api, by string) error { return api.create(by, stored) })
}

// put makes a write of a derived object, whose caller is given what is stored.
func (a apiClient) put(ctx context.Context, o client.Object, stored object, do func(api *api, by string) error) error {
	if err := a.write(ctx, do); err != nil {
		return a.answer(stored.id().kind, o.GetName(), err)
	}
	is := metaOf(stored)
	o.SetResourceVersion(is.ResourceVersion)
	o.SetUID(is.UID)
	o.SetCreationTimestamp(is.CreationTimestamp)
	return nil
}

// derivedObject is one of Istio's objects as the API server stores it.
func derivedObject(o client.Object, id identity) object {
	switch o := o.(type) {
	case *networkingv1.VirtualService:
		id.kind = virtualServices
		return &virtualService{identity: id, spec: o.DeepCopy()}
	case *networkingv1.DestinationRule:
		id.kind = destinationRules
		return &destinationRule{identity: id, spec: o.DeepCopy()}
	}
	panic(fmt.Sprintf("the simulator has no %T", o))
}

// metaOf is the metadata of one of Istio's objects.
func metaOf(o object) *metav1.ObjectMeta {
	switch o := o.(type) {
	case *virtualService:
		return &o.spec.ObjectMeta
	case *destinationRule:
		return &o.spec.ObjectMeta
	}
	return &metav1.ObjectMeta{}
}

// Delete removes a derived object, of that version alone.
func (a apiClient) Delete(ctx context.Context, o client.Object, opts ...client.DeleteOption) error {
	k := derivedObject(o, identity{}).id().kind
	var options client.DeleteOptions
	options.ApplyOptions(opts)
	at := int64(0)
	if p := options.Preconditions; p != nil && p.ResourceVersion != nil {
		at = a.r.w.mutation.lock(versionNumber(*p.ResourceVersion))
	}
	err := a.write(ctx, func(api *api, by string) error { return api.remove(by, k, o.GetName(), at) })
	return a.answer(k, o.GetName(), err)
}

func versionNumber(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return -1 // of no object
	}
	return n
}

// Patch changes an object, and puts what is stored into it.
func (a apiClient) Patch(ctx context.Context, o client.Object, p client.Patch, opts ...client.PatchOption) error {
	if _, ok := o.(*networkingv1.VirtualService); ok {
		return a.move(ctx, virtualServices, o, p)
	}
	if _, ok := o.(*networkingv1.DestinationRule); ok {
		return a.move(ctx, destinationRules, o, p)
	}
	raw, err := p.Data(o)
	if err != nil {
		return err
	}
	var change mergePatch
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	if decoder.DisallowUnknownFields(); decoder.Decode(&change) != nil {
		a.r.w.fail("e", "more of %s is written than anybody needs: %s", o.GetName(), raw)
		return errServer
	}
	var options client.PatchOptions
	options.ApplyOptions(opts)
	change.by = options.FieldManager
	switch o := o.(type) {
	case *appsv1.Deployment:
		stored, err := patch[*deployment](ctx, a, deployments, o.Name, change)
		if err == nil {
			*o = *stored
			a.r.w.mutation.answers(o)
		}
		return err
	case *appsv1.ReplicaSet:
		stored, err := patch[*replicaSet](ctx, a, replicaSets, o.Name, change)
		if err == nil {
			*o = *stored
			a.r.w.mutation.answers(o)
		}
		return err
	case *corev1.Pod:
		_, err := patch[*pod](ctx, a, pods, o.Name, change)
		return err
	}
	return fmt.Errorf("the simulator has no %T", o)
}

// move is a merge patch between two states of a derived object. Bound to the first of them, it leaves the second.
func (a apiClient) move(ctx context.Context, k kind, o client.Object, p client.Patch) error {
	if !a.r.bound[k] { // one of each kind and process is looked at: they take long to make
		raw, err := p.Data(o)
		if err != nil {
			return err
		}
		if !strings.Contains(string(raw), fmt.Sprintf(`"resourceVersion":%q`, o.GetResourceVersion())) {
			a.r.w.fail("e", "%s is written whatever has become of it: %s", o.GetName(), raw)
		}
		a.r.bound[k] = true
	}
	stored := derivedObject(o, identity{name: o.GetName()})
	at := a.r.w.mutation.lock(versionNumber(o.GetResourceVersion()))
	return a.put(ctx, o, stored, func(api *api, by string) error {
		if live := find(api.list(k), o.GetName()); live != nil {
			*stored.id() = *live.id()
		}
		return api.update(by, stored, at)
	})
}

// mergePatch is a JSON merge patch (RFC 7396), of what the product may write of objects that are not its own. A null
// removes.
type mergePatch struct {
	by       string // the field manager
	Metadata struct {
		ResourceVersion string             `json:"resourceVersion"`
		Annotations     map[string]*string `json:"annotations"`
		Labels          map[string]*string `json:"labels"`
	} `json:"metadata"`
	Spec struct {
		Paused   json.RawMessage `json:"paused"`
		Replicas *int32          `json:"replicas"`
		Template struct {
			Metadata struct {
				Labels map[string]*string `json:"labels"`
			} `json:"metadata"`
		} `json:"template"`
	} `json:"spec"`
}

// patched is an object that a merge patch can change, and its own type in Kubernetes.
type patched[T, K any] interface {
	object
	copy() T
	kube() K
	merge(p mergePatch)
}

// patch makes a write, and gives what is stored. Nothing is written where nothing changes.
func patch[T patched[T, K], K any](ctx context.Context, a apiClient, k kind, name string, change mergePatch,
) (K, error) {
	var stored K
	a.r.w.mutation.patch(k, &change)
	err := a.write(ctx, func(api *api, by string) error {
		live, ok := get[T](api.list(k), name)
		if !ok {
			return errNotFound
		}
		at := int64(0)
		if v := change.Metadata.ResourceVersion; v != "" {
			at = a.r.w.mutation.lock(versionNumber(v))
		}
		next := live.copy()
		next.merge(change)
		if stored = live.kube(); reflect.DeepEqual(next.kube(), stored) && (at == 0 || at == live.id().version) {
			return nil
		}
		err := api.update(by, next, at)
		stored = next.kube()
		return err
	})
	return stored, a.answer(k, name, err)
}

func (d *deployment) merge(p mergePatch) {
	for _, key := range sortedKeys(p.Metadata.Annotations) {
		d.annotate(key, p.Metadata.Annotations[key], p.by)
	}
	if raw := p.Spec.Paused; raw != nil {
		d.pause(string(raw) == "true")
	}
	if n := p.Spec.Replicas; n != nil {
		d.replicas = *n
		d.generation++
	}
	if version, ok := p.Spec.Template.Metadata.Labels[release.VersionLabel]; ok && valueOf(version) != d.template.version {
		d.template.version, d.templateBy = valueOf(version), p.by
		d.generation++
	}
}

func (s *replicaSet) merge(p mergePatch) {
	if version, ok := p.Spec.Template.Metadata.Labels[release.VersionLabel]; ok && valueOf(version) != s.template.version {
		s.template.version = valueOf(version)
		s.generation++
	}
}

func (p *pod) merge(change mergePatch) {
	if version, ok := change.Metadata.Labels[release.VersionLabel]; ok {
		p.label = valueOf(version)
	}
}

func valueOf(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// Status writes conditions.
func (a apiClient) Status() client.SubResourceWriter { return statusClient{r: a.r} }

type statusClient struct {
	client.SubResourceWriter // none: what is not overridden is never called
	r                        *replica
}

// Apply applies the conditions of ours, whatever else has become of the Deployment.
func (s statusClient) Apply(
	ctx context.Context, o runtime.ApplyConfiguration, _ ...client.SubResourceApplyOption,
) error {
	apply, a := o.(*applyappsv1.DeploymentApplyConfiguration), apiClient{r: s.r}
	err := a.write(ctx, func(api *api, by string) error {
		live, ok := get[*deployment](api.list(deployments), *apply.Name)
		switch {
		case !ok:
			return errNotFound
		case uidText(live.uid) != string(*apply.UID):
			return errConflict
		}
		next := live.copy()
		next.conditions = nil
		for _, c := range apply.Status.Conditions {
			next.conditions = append(next.conditions, release.Condition{
				Type: string(*c.Type), Status: string(*c.Status), Reason: *c.Reason, Message: *c.Message})
		}
		err := api.update(by, next, live.version)
		version := strconv.FormatInt(next.version, 10)
		apply.ResourceVersion = &version
		return err
	})
	return a.answer(deployments, *apply.Name, err)
}
