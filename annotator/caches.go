package annotator

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// Caches are what grayscale knows of the cluster: one cache of everything, under the empty name, or one of each namespace
// that it is confined to. controller-runtime's own cache of several namespaces does not give away its indexes.
type Caches map[string]cache.Cache

// NewCaches adds the caches to a manager, which starts them before it reads or decides anything; no namespaces stand for
// the whole cluster. Every object is trimmed to what the engine reads before it is kept: the caches hold all Deployments,
// pods and Services, and almost none of their bytes matter here. It is one transform for all kinds because options of a
// kind's own would have a cache ask for that kind at its start, and Istio's may come later.
func NewCaches(mgr manager.Manager, namespaces []string) (Caches, error) {
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	caches := Caches{}
	for _, namespace := range slices.Compact(slices.Sorted(slices.Values(namespaces))) {
		options := cache.Options{DefaultTransform: trim, Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(), HTTPClient: mgr.GetHTTPClient()}
		if namespace != metav1.NamespaceAll { // a cache with this selector asks for the namespace alone
			options.DefaultFieldSelector = fields.OneTermEqualSelector("metadata.namespace", namespace)
		}
		c, err := cache.New(mgr.GetConfig(), options)
		if err != nil {
			return nil, fmt.Errorf("a cache of namespace %q: %w", namespace, err)
		}
		if err := mgr.Add(cached{c}); err != nil {
			return nil, err
		}
		caches[namespace] = c
	}
	return caches, nil
}

// cached has a manager start and stop the cache with its own.
type cached struct{ cache.Cache }

// GetCache is what a manager tells caches by.
func (c cached) GetCache() cache.Cache { return c.Cache }

// Get reads one object, as client.Reader does.
func (c Caches) Get(ctx context.Context, key client.ObjectKey, into client.Object, opts ...client.GetOption) error {
	from, err := c.of(key.Namespace)
	if err != nil {
		return err
	}
	return from.Get(ctx, key, into, opts...)
}

// List reads the objects of one namespace, as client.Reader does.
func (c Caches) List(ctx context.Context, into client.ObjectList, opts ...client.ListOption) error {
	options := client.ListOptions{}
	options.ApplyOptions(opts)
	from, err := c.of(options.Namespace)
	if err != nil {
		return err
	}
	return from.List(ctx, into, opts...)
}

func (c Caches) of(namespace string) (cache.Cache, error) {
	for _, name := range []string{metav1.NamespaceAll, namespace} {
		if found, ok := c[name]; ok {
			return found, nil
		}
	}
	return nil, fmt.Errorf("grayscale is confined to namespaces, and %q is none of them", namespace)
}

// whole is the cache of the whole cluster, nil where there is none.
func (c Caches) whole() cache.Cache { return c[metav1.NamespaceAll] }

// synced waits until all that was asked for so far has been read, and fails only where ctx ends.
func (c Caches) synced(ctx context.Context) bool {
	for _, one := range c {
		if !one.WaitForCacheSync(ctx) {
			return false
		}
	}
	return true
}

// removeInformer ends the watches of a kind.
func (c Caches) removeInformer(ctx context.Context, kind client.Object) error {
	for _, one := range c {
		if err := one.RemoveInformer(ctx, kind); err != nil {
			return err
		}
	}
	return nil
}

// shelf is the index of one kind's informers, of the whole cluster or by namespace.
type shelf map[string]toolscache.Indexer

// byIndex is what the indexes hold under a key.
func (s shelf) byIndex(name, key string) []any {
	var out []any
	for _, one := range s {
		objects, err := one.ByIndex(name, key)
		if err != nil {
			return nil // only a name that was never added is an error, and tests ask for each of them
		}
		if out == nil {
			out = objects // a copy already
			continue
		}
		out = append(out, objects...)
	}
	return out
}

func (s shelf) byKey(key string) any {
	for _, one := range s {
		if found, exists, err := one.GetByKey(key); err == nil && exists {
			return found
		}
	}
	return nil
}

func (s shelf) all() []any {
	var out []any
	for _, one := range s {
		out = append(out, one.List()...)
	}
	return out
}
