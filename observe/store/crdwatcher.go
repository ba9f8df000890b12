package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlcluster "sigs.k8s.io/controller-runtime/pkg/cluster"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"grayscale.dev/grayscale/observe"
)

// crdResource is watched as bare metadata, so that Istio and the Gateway API may come and go while the process runs.
var crdResource = schema.GroupVersionResource{
	Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// lookAgain is the time between looks for kinds that are defined but not served yet: a definition takes moments to be
// established, and discovery moments more.
var lookAgain = wait.Backoff{Duration: 500 * time.Millisecond, Factor: 2, Steps: 10, Cap: 10 * time.Second}

const (
	// confinedLook is the time between looks where definitions are not watched.
	confinedLook = 30 * time.Second
	// syncLimit is how long a first list of Istio's objects may take before it is tried again.
	syncLimit = 30 * time.Second
)

// crdWatcher watches Istio's objects and the Gateway API's routes while the API server serves their kinds.
type crdWatcher struct {
	store *Store
	// definitions are the custom resource definitions; nil where grayscale is confined to namespaces, and has no right to
	// watch what is the cluster's. It looks from time to time then, as anybody may.
	definitions cache.SharedIndexInformer
	istio       *istioWatcher
	gateway     *gatewayWatcher

	looked chan struct{} // closed after the first look
	wake   chan struct{} // a definition changed; holds one at most
}

func newCRDWatcher(s *Store, from ctrlcluster.Cluster) (*crdWatcher, error) {
	found, err := discovery.NewDiscoveryClientForConfigAndClient(from.GetConfig(), from.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("a discovery client: %w", err)
	}
	w := &crdWatcher{store: s, looked: make(chan struct{}), wake: make(chan struct{}, 1)}
	w.istio = &istioWatcher{store: s, discovery: found, defined: w.defined, backoff: lookAgain}
	w.gateway = &gatewayWatcher{store: s, discovery: found, defined: w.defined, backoff: lookAgain}
	if s.namespaces[0] != metav1.NamespaceAll {
		return w, nil
	}
	bare, err := metadata.NewForConfigAndClient(metadata.ConfigFor(from.GetConfig()), from.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("a client of metadata: %w", err)
	}
	w.istio.watched, w.gateway.watched = true, true
	all := metadatainformer.NewFilteredMetadataInformer(bare, crdResource, metav1.NamespaceAll, 0, nil, nil)
	w.definitions = all.Informer()
	if err := w.definitions.SetTransform(trimDefinition); err != nil {
		return nil, err
	}
	_, err = w.definitions.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: w.changed, DeleteFunc: w.changed, UpdateFunc: func(_, o any) { w.changed(o) }})
	return w, err
}

// changed has a look follow soon.
func (w *crdWatcher) changed(o any) {
	if tomb, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = tomb.Obj
	}
	if o, ok := o.(client.Object); ok && watchedDefinition(o.GetName()) {
		select {
		case w.wake <- struct{}{}:
		default: // a look is due already
		}
	}
}

// watchedDefinition reports whether the custom resource definition is one of a kind that is watched while it is served.
func watchedDefinition(name string) bool {
	resource, group, _ := strings.Cut(name, ".")
	ofGateway := group == gatewayv1.GroupName && slices.Contains(slices.Collect(maps.Values(observe.MeshKinds)), resource)
	return ofGateway || slices.Contains(istioDefinitions, name)
}

// defined reports whether a custom resource definition exists, and is not on its way out.
func (w *crdWatcher) defined(name string) bool {
	o, there, err := w.definitions.GetStore().GetByKey(name)
	crd, ok := o.(client.Object)
	return err == nil && there && ok && crd.GetDeletionTimestamp() == nil
}

// run watches until ctx ends. What the API server serves is looked at once Kubernetes' own objects are there.
func (w *crdWatcher) run(ctx context.Context) {
	if w.definitions != nil {
		go w.definitions.RunWithContext(ctx)
		if !cache.WaitForCacheSync(ctx.Done(), w.definitions.HasSynced) {
			return // only because ctx has ended
		}
	}
	if synced(ctx, w.store.core) != nil {
		return // likewise
	}
	for {
		next := w.look(ctx)
		var again <-chan time.Time
		if next > 0 {
			again = time.After(next)
		}
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
			w.gateway.again = true
		case <-again:
		}
	}
}

// look starts and stops watches to match what the API server serves. It returns when to look again, zero where there is
// nothing to wait for.
func (w *crdWatcher) look(ctx context.Context) time.Duration {
	running := w.store.istio.Load() != nil
	changed, later := w.gateway.look(ctx) // first: nothing is routed before it is known who routes already
	next := soonest(w.istio.look(ctx), later)
	begun, first := w.store.istio.Load() != nil && !running, !closed(w.looked)
	if first {
		close(w.looked)
	}
	if begun || first || changed {
		w.store.notify(observe.All(w.store)) // a watch that begins does not notify of what is there
	}
	return next
}

// soonest is the shorter of two times, of which zero is none.
func soonest(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
