package observe

import (
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/routing/istio"
)

// Reader reads the objects that facts are made from, as one process knows them. It answers from memory: to use the API
// server itself, Read reads everything first. Callers must not change what it returns.
type Reader interface {
	// Domain is the DNS suffix of the cluster's Services, such as cluster.local. It completes short host names.
	Domain() string
	// Seen is the resourceVersion that the watch of a namespace's Deployments has reached; empty without a watch.
	Seen(namespace string) string
	// GetService is the Service of that name; nil where there is none.
	GetService(namespace, name string) *corev1.Service
	// GetDeployment is the Deployment of that name; nil where there is none.
	GetDeployment(namespace, name string) *appsv1.Deployment
	// List* are the objects that an index has under a key, in any order. Filter is the simplest implementation.
	ListServices(by ServiceIndex, key string) []*corev1.Service
	ListDeployments(by DeploymentIndex, key string) []*appsv1.Deployment
	ListPods(by PodIndex, key string) []*Pod
	// Istio reads Istio's objects; nil while the API server does not serve networking.istio.io/v1.
	Istio() IstioReader
	// MeshRoutes are the routes of the Gateway API that have the Service as a parent.
	MeshRoutes(namespace, service string) []istio.MeshRoute
}

// IstioReader reads Istio's objects.
type IstioReader interface {
	// Get* are nil where there is no object of that name.
	GetVirtualService(namespace, name string) *networkingv1.VirtualService
	GetDestinationRule(namespace, name string) *networkingv1.DestinationRule
	// List* are the objects of all namespaces that have the key among HostKeys, in any order.
	ListVirtualServices(hostKey string) []*networkingv1.VirtualService
	ListDestinationRules(hostKey string) []*networkingv1.DestinationRule
	// Has reports whether there is a VirtualService or a DestinationRule of that name.
	Has(namespace, name string) bool
	// Names are the names of all VirtualServices and DestinationRules, with duplicates, in any order.
	Names() []types.NamespacedName
}
