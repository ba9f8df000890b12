package annotator

import (
	"maps"
	"slices"
	"strings"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/routing/cluster"
	"grayscale.dev/grayscale/routing/istio"
)

// byHost is the name of observe.ByHost.
var byHost = observe.ByHost[any]("").Name

// indexed are the indexes of a shelf.
func indexed[T kept](list ...observe.Index[T]) indexes[T] {
	out := indexes[T]{}
	for _, by := range list {
		out[by.Name] = by.Keys
	}
	return out
}

// Caches are an observe.Reader.
var (
	_ observe.Reader     = &Caches{}
	_ observe.PodGrouper = &Caches{}
)

// Domain is the DNS suffix of the cluster's Services.
func (c *Caches) Domain() string { return c.domain }

// Seen is the resourceVersion that the watch of a namespace's Deployments has come to.
func (c *Caches) Seen(namespace string) string { return c.seen(namespace) }

// GetService is the Service of that name; nil where there is none.
func (c *Caches) GetService(namespace, name string) *corev1.Service {
	s, _ := c.services.get(namespace + "/" + name)
	return s
}

// GetDeployment is the Deployment of that name; nil where there is none.
func (c *Caches) GetDeployment(namespace, name string) *appsv1.Deployment {
	d, _ := c.deployments.get(namespace + "/" + name)
	return d
}

// ListServices are the Services that an index has under a key.
func (c *Caches) ListServices(by observe.ServiceIndex, key string) []*corev1.Service {
	return c.services.under(by.Name, key)
}

// ListDeployments are the Deployments that an index has under a key.
func (c *Caches) ListDeployments(by observe.DeploymentIndex, key string) []*appsv1.Deployment {
	return c.deployments.under(by.Name, key)
}

// ListPods are the pods that an index has under a key.
func (c *Caches) ListPods(by observe.PodIndex, key string) []*corev1.Pod {
	return c.pods.under(by.Name, key)
}

// GroupPods are the pods that an index has under a key, in groups that are kept until one of the pods changes.
func (c *Caches) GroupPods(by observe.PodIndex, key string) []observe.PodGroup {
	return c.pods.digestOf(by.Name, key, func(pods []*corev1.Pod) any { return observe.GroupPods(pods) }).([]observe.PodGroup)
}

// Istio reads Istio's objects; nil while the API server does not serve them.
func (c *Caches) Istio() observe.IstioReader {
	if r := c.routes.Load(); r != nil {
		return r
	}
	return nil
}

// MeshRoutes are the routes of the Gateway API that have the Service as a parent, of the kinds that the API server
// serves.
func (c *Caches) MeshRoutes(namespace, service string) []istio.MeshRoute {
	c.meshRoutes.lock.RLock()
	defer c.meshRoutes.lock.RUnlock()
	var out []istio.MeshRoute
	for _, kind := range slices.Sorted(maps.Keys(c.meshRoutes.kept)) {
		for _, r := range c.meshRoutes.kept[kind].routes.under(byParent, namespace+"/"+service) {
			out = append(out, cluster.MeshRoute(kind, &r.ObjectMeta, r.Spec.ParentRefs))
		}
	}
	return out
}

// GetVirtualService is the VirtualService of that name; nil where there is none.
func (r *routes) GetVirtualService(namespace, name string) *networkingv1.VirtualService {
	vs, _ := r.virtualServices.get(namespace + "/" + name)
	return vs
}

// GetDestinationRule is the DestinationRule of that name; nil where there is none.
func (r *routes) GetDestinationRule(namespace, name string) *networkingv1.DestinationRule {
	dr, _ := r.destinationRules.get(namespace + "/" + name)
	return dr
}

// ListVirtualServices are those for a host.
func (r *routes) ListVirtualServices(hostKey string) []*networkingv1.VirtualService {
	return r.virtualServices.under(byHost, hostKey)
}

// ListDestinationRules are those for a host.
func (r *routes) ListDestinationRules(hostKey string) []*networkingv1.DestinationRule {
	return r.destinationRules.under(byHost, hostKey)
}

// Has reports whether there is a VirtualService or a DestinationRule of that name.
func (r *routes) Has(namespace, name string) bool {
	key := namespace + "/" + name
	return r.virtualServices.has(key) || r.destinationRules.has(key)
}

// Names are the names of all VirtualServices and DestinationRules.
func (r *routes) Names() []types.NamespacedName {
	keys := append(r.virtualServices.names(), r.destinationRules.names()...)
	out := make([]types.NamespacedName, len(keys))
	for i, key := range keys {
		out[i].Namespace, out[i].Name, _ = strings.Cut(key, "/")
	}
	return out
}
