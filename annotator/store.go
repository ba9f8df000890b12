package annotator

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"grayscale.dev/grayscale/routing/istio"
)

// Names of indexes. Their keys begin with "namespace/", except for hosts.
const (
	byLabel    = "label"    // Deployments by each template label, pods by each label
	byOurLabel = "ourLabel" // Deployments that concern us, by each template label
	byNaming   = "naming"   // Deployments by the Service that an annotation names
	byConcern  = "concern"  // Deployments that concern us: by namespace, and under everywhere
	byOwner    = "owner"    // pods by the Deployment whose ReplicaSet owns them
	bySelector = "selector" // Services by one label of their selector
	byHost     = "host"     // Istio objects by resolved host, all with a wildcard under wildcard
)

const (
	everywhere = "*"
	wildcard   = "*"
)

// store reads the informers' own indexes: what it returns is the cached objects themselves, which nobody may change.
// controller-runtime's reader would copy each object of a list.
type store struct {
	domain string
	// seen is how far the watch of a namespace's Deployments has come.
	seen        func(namespace string) string
	deployments shelf
	pods        shelf
	services    shelf
	routes      atomic.Pointer[routes] // nil while the API server does not serve Istio's kinds
}

// routes are the informers' indexes for Istio's objects.
type routes struct {
	virtualServices, destinationRules shelf
}

func newStore(ctx context.Context, c Caches, domain string) (*store, error) {
	s := &store{domain: domain}
	var err error
	var versions map[string]func() string
	if s.deployments, versions, err = indexed(ctx, c, &appsv1.Deployment{}, deploymentIndexers); err != nil {
		return nil, err
	}
	s.seen = func(namespace string) string {
		for _, name := range []string{metav1.NamespaceAll, namespace} {
			if version, ok := versions[name]; ok {
				return version()
			}
		}
		return ""
	}
	if s.pods, _, err = indexed(ctx, c, &corev1.Pod{}, podIndexers); err != nil {
		return nil, err
	}
	s.services, _, err = indexed(ctx, c, &corev1.Service{}, serviceIndexers)
	return s, err
}

// indexed adds indexes to the informers of obj, and returns what they are asked through, and how far each has come.
func indexed(ctx context.Context, c Caches, obj client.Object, indexers toolscache.Indexers) (shelf, map[string]func() string, error) {
	out, versions := shelf{}, map[string]func() string{}
	for namespace, one := range c {
		informer, err := one.GetInformer(ctx, obj, cache.BlockUntilSynced(false))
		if err != nil {
			return nil, nil, err
		}
		shared, ok := informer.(toolscache.SharedIndexInformer)
		if !ok {
			return nil, nil, fmt.Errorf("the cache of %T is a %T without indexes", obj, informer)
		}
		if err := shared.AddIndexers(indexers); err != nil {
			return nil, nil, fmt.Errorf("indexing %T: %w", obj, err)
		}
		out[namespace], versions[namespace] = shared.GetIndexer(), shared.LastSyncResourceVersion
	}
	return out, versions, nil
}

var deploymentIndexers = toolscache.Indexers{
	byLabel: index(func(d *appsv1.Deployment) []string { return labelKeys(d.Namespace, d.Spec.Template.Labels) }),
	byOurLabel: index(func(d *appsv1.Deployment) []string {
		if !concerns(d) {
			return nil
		}
		return labelKeys(d.Namespace, d.Spec.Template.Labels)
	}),
	byNaming: index(func(d *appsv1.Deployment) []string {
		if named := namedService(d); named != "" {
			return []string{d.Namespace + "/" + named}
		}
		return nil
	}),
	byConcern: index(func(d *appsv1.Deployment) []string {
		if !concerns(d) {
			return nil
		}
		return []string{d.Namespace + "/", everywhere}
	}),
}

var podIndexers = toolscache.Indexers{
	byLabel: index(func(p *corev1.Pod) []string { return labelKeys(p.Namespace, p.Labels) }),
	byOwner: index(func(p *corev1.Pod) []string {
		if owner := ownerKey(p); owner != "" {
			return []string{p.Namespace + "/" + owner}
		}
		return nil
	}),
}

var serviceIndexers = toolscache.Indexers{
	bySelector: index(func(s *corev1.Service) []string {
		if len(s.Spec.Selector) == 0 {
			return nil
		}
		return []string{selectorKey(s.Namespace, s.Spec.Selector)}
	}),
}

// hostIndexers index Istio's objects, whose short names the cluster's domain completes.
func hostIndexers(domain string) toolscache.Indexers {
	return toolscache.Indexers{byHost: func(obj any) ([]string, error) {
		var keys []string
		for _, host := range istio.HostKeys(obj, domain) {
			if strings.HasPrefix(host, "*") {
				host = wildcard
			}
			keys = append(keys, host)
		}
		return keys, nil
	}}
}

func index[T any](f func(T) []string) toolscache.IndexFunc {
	return func(obj any) ([]string, error) {
		typed, ok := obj.(T)
		if !ok {
			return nil, fmt.Errorf("the cache of %T holds a %T", typed, obj)
		}
		return f(typed), nil
	}
}

func labelKey(namespace, key, value string) string { return namespace + "/" + key + "=" + value }

// labelKeys leave out the hash, by which nothing is looked up and which is another one for each ReplicaSet.
func labelKeys(namespace string, labels map[string]string) []string {
	keys := make([]string, 0, len(labels))
	for k, v := range labels {
		if k != appsv1.DefaultDeploymentUniqueLabelKey {
			keys = append(keys, labelKey(namespace, k, v))
		}
	}
	return keys
}

// selectorKey is one label that everything the selector matches has: the alphabetically first, any would do.
func selectorKey(namespace string, selector map[string]string) string {
	first := ""
	for k := range selector {
		if first == "" || k < first {
			first = k
		}
	}
	return labelKey(namespace, first, selector[first])
}

// list is what an index holds under a key.
func list[T any](from shelf, name, key string) []T {
	objects := from.byIndex(name, key)
	out := make([]T, 0, len(objects))
	for _, o := range objects {
		if typed, ok := o.(T); ok {
			out = append(out, typed)
		}
	}
	return out
}

func get[T any](from shelf, key string) (T, bool) {
	typed, ok := from.byKey(key).(T)
	return typed, ok
}

func (s *store) service(namespace, name string) (*corev1.Service, bool) {
	return get[*corev1.Service](s.services, namespace+"/"+name)
}

// selecting are the Services whose selector matches the labels, sorted by name.
func (s *store) selecting(namespace string, labels map[string]string) []*corev1.Service {
	var out []*corev1.Service
	for _, key := range labelKeys(namespace, labels) {
		for _, svc := range list[*corev1.Service](s.services, bySelector, key) {
			if matches(svc.Spec.Selector, labels) {
				out = append(out, svc)
			}
		}
	}
	slices.SortFunc(out, func(a, b *corev1.Service) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// matching are the Deployments of an index whose template the selector matches; a Service without a selector has none.
func (s *store) matching(indexName, namespace string, selector map[string]string) []*appsv1.Deployment {
	if len(selector) == 0 {
		return nil
	}
	return slices.DeleteFunc(list[*appsv1.Deployment](s.deployments, indexName, selectorKey(namespace, selector)),
		func(d *appsv1.Deployment) bool { return !matches(selector, d.Spec.Template.Labels) })
}

func (s *store) podsSelected(namespace string, selector map[string]string) []*corev1.Pod {
	if len(selector) == 0 {
		return nil
	}
	return slices.DeleteFunc(list[*corev1.Pod](s.pods, byLabel, selectorKey(namespace, selector)),
		func(p *corev1.Pod) bool { return !matches(selector, p.Labels) })
}

func (s *store) podsOf(d *appsv1.Deployment) []*corev1.Pod {
	pods := list[*corev1.Pod](s.pods, byOwner, d.Namespace+"/"+cutName(d.Name))
	return slices.DeleteFunc(pods, func(p *corev1.Pod) bool {
		return d.Spec.Selector != nil && !matches(d.Spec.Selector.MatchLabels, p.Labels)
	})
}

func (r *routes) virtualService(key string) (*networkingv1.VirtualService, bool) {
	return get[*networkingv1.VirtualService](r.virtualServices, key)
}

func (r *routes) destinationRule(key string) (*networkingv1.DestinationRule, bool) {
	return get[*networkingv1.DestinationRule](r.destinationRules, key)
}

func matches(selector, labels map[string]string) bool {
	for k, v := range selector {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return len(selector) > 0
}

// maxOwner is shorter than the shortest a ReplicaSet's name can cut its Deployment's to: 253 characters less a dash and
// a hash of at most 10 (k8s.io/kubernetes pkg/controller/deployment/sync.go, generateReplicaSetName).
const maxOwner = 242

func cutName(deployment string) string {
	if len(deployment) > maxOwner {
		return deployment[:maxOwner]
	}
	return deployment
}

// ownerKey names the Deployment of a pod without a cache of ReplicaSets: the Deployment controller names them
// "<deployment>-<hash>" and labels their pods with the hash. Empty for pods of anything else.
func ownerKey(p *corev1.Pod) string {
	hash := p.Labels[appsv1.DefaultDeploymentUniqueLabelKey]
	if hash == "" || len(p.OwnerReferences) == 0 || p.OwnerReferences[0].Kind != "ReplicaSet" {
		return ""
	}
	name, ok := strings.CutSuffix(p.OwnerReferences[0].Name, "-"+hash)
	if !ok {
		return ""
	}
	return cutName(name)
}
