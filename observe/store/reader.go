package store

import (
	"context"
	"maps"
	"slices"
	"strings"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/routing/istio"
)

var _ observe.Reader = &Store{}

// Domain is the DNS suffix of the cluster's Services.
func (s *Store) Domain() string { return s.domain }

// Seen is the resourceVersion that the watch of a namespace's Deployments has come to.
func (s *Store) Seen(namespace string) string { return s.seen(namespace) }

// GetService is the Service of that name; nil where there is none.
func (s *Store) GetService(namespace, name string) *corev1.Service {
	return s.services.get(namespace, name)
}

// GetDeployment is the Deployment of that name; nil where there is none.
func (s *Store) GetDeployment(namespace, name string) *appsv1.Deployment {
	return s.deployments.get(namespace, name)
}

// ListServices are the Services that an index has under a key.
func (s *Store) ListServices(by observe.ServiceIndex, key string) []*corev1.Service {
	return s.services.list(by, key)
}

// ListDeployments are the Deployments that an index has under a key.
func (s *Store) ListDeployments(by observe.DeploymentIndex, key string) []*appsv1.Deployment {
	return s.deployments.list(by, key)
}

// ListPods are the pods that an index has under a key.
func (s *Store) ListPods(by observe.PodIndex, key string) []*observe.Pod { return s.pods.list(by, key) }

// MeshRoutes are the routes of the Gateway API that have the Service as a parent, of the kinds that the API server
// serves.
func (s *Store) MeshRoutes(namespace, service string) []istio.MeshRoute {
	s.meshRoutes.lock.RLock()
	defer s.meshRoutes.lock.RUnlock()
	var out []istio.MeshRoute
	for _, kind := range slices.Sorted(maps.Keys(s.meshRoutes.served)) {
		for _, r := range s.meshRoutes.served[kind].routes.list(byParent, namespace+"/"+service) {
			out = append(out, *r)
		}
	}
	return out
}

// Istio reads Istio's objects; nil while the API server does not serve them.
func (s *Store) Istio() observe.IstioReader {
	if o := s.istio.Load(); o != nil {
		return o
	}
	return nil
}

// istioObjects are Istio's objects while they are watched.
type istioObjects struct {
	virtualServices  *objects[networkingv1.VirtualService]
	destinationRules *objects[networkingv1.DestinationRule]
	byHost           observe.Index[*networkingv1.VirtualService]
	rulesByHost      observe.Index[*networkingv1.DestinationRule]
	stop             context.CancelFunc
}

func newIstioObjects(domain string, stop context.CancelFunc) *istioObjects {
	o := &istioObjects{byHost: observe.ByHost[*networkingv1.VirtualService](domain),
		rulesByHost: observe.ByHost[*networkingv1.DestinationRule](domain), stop: stop}
	o.virtualServices = newObjects("virtualservices", virtualServiceCodec, o.byHost)
	o.destinationRules = newObjects("destinationrules", destinationRuleCodec, o.rulesByHost)
	return o
}

// GetVirtualService is the VirtualService of that name; nil where there is none.
func (o *istioObjects) GetVirtualService(namespace, name string) *networkingv1.VirtualService {
	return o.virtualServices.get(namespace, name)
}

// GetDestinationRule is the DestinationRule of that name; nil where there is none.
func (o *istioObjects) GetDestinationRule(namespace, name string) *networkingv1.DestinationRule {
	return o.destinationRules.get(namespace, name)
}

// ListVirtualServices are those for a host.
func (o *istioObjects) ListVirtualServices(hostKey string) []*networkingv1.VirtualService {
	return o.virtualServices.list(o.byHost, hostKey)
}

// ListDestinationRules are those for a host.
func (o *istioObjects) ListDestinationRules(hostKey string) []*networkingv1.DestinationRule {
	return o.destinationRules.list(o.rulesByHost, hostKey)
}

// Has reports whether there is a VirtualService or a DestinationRule of that name.
func (o *istioObjects) Has(namespace, name string) bool {
	return o.virtualServices.has(namespace, name) || o.destinationRules.has(namespace, name)
}

// Names are the names of all VirtualServices and DestinationRules.
func (o *istioObjects) Names() []types.NamespacedName {
	keys := append(o.virtualServices.keys(), o.destinationRules.keys()...)
	out := make([]types.NamespacedName, len(keys))
	for i, key := range keys {
		out[i].Namespace, out[i].Name, _ = strings.Cut(key, "/")
	}
	return out
}
