package observe

import (
	"context"
	"fmt"
	"slices"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"grayscale.dev/grayscale/routing/cluster"
	"grayscale.dev/grayscale/routing/istio"
)

// Snapshot is a Reader of plain lists. Its zero value is an empty cluster that does not serve Istio's kinds.
type Snapshot struct {
	// ClusterDomain is the DNS suffix of the cluster's Services.
	ClusterDomain string
	Services      []*corev1.Service
	Deployments   []*appsv1.Deployment
	Pods          []*Pod
	// IstioServed: the API server serves Istio's kinds.
	IstioServed      bool
	VirtualServices  []*networkingv1.VirtualService
	DestinationRules []*networkingv1.DestinationRule
	// Routes are the routes of the Gateway API.
	Routes []istio.MeshRoute
}

// MeshKinds are the kinds of the Gateway API that istiod implements for the mesh, and their resources.
var MeshKinds = map[string]string{
	istio.HTTPRoute: "httproutes", istio.GRPCRoute: "grpcroutes", istio.TCPRoute: "tcproutes",
}

// MeshVersions are the versions of the Gateway API that are read, the preferred one first. A cluster may serve some
// kinds only in the second.
var MeshVersions = []string{"v1", "v1alpha2"}

// Read reads everything that the facts about a namespace's Services are made from; an empty namespace stands for all.
// The client's scheme has to know Istio's kinds. Routes and rules are read from all namespaces, or, where that is
// forbidden, from the one namespace.
func Read(ctx context.Context, c client.Reader, domain, namespace string) (*Snapshot, error) {
	var services corev1.ServiceList
	var deployments appsv1.DeploymentList
	var pods corev1.PodList
	for _, list := range []client.ObjectList{&services, &deployments, &pods} {
		if err := c.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return nil, fmt.Errorf("observe: %w", err)
		}
	}
	s := &Snapshot{ClusterDomain: domain, Services: pointers(services.Items), Deployments: pointers(deployments.Items)}
	for i := range pods.Items {
		s.Pods = append(s.Pods, PodOf(&pods.Items[i]))
	}
	var routes networkingv1.VirtualServiceList
	var rules networkingv1.DestinationRuleList
	for _, list := range []client.ObjectList{&routes, &rules} {
		served, err := listRoutes(ctx, c, list, namespace)
		if err != nil {
			return nil, fmt.Errorf("observe: %w", err)
		}
		if !served {
			return s, nil
		}
	}
	s.IstioServed, s.VirtualServices, s.DestinationRules = true, routes.Items, rules.Items
	return s, s.readMeshRoutes(ctx, c, namespace)
}

// listRoutes reports false where the API server does not serve the kind.
func listRoutes(ctx context.Context, c client.Reader, list client.ObjectList, namespace string) (bool, error) {
	err := c.List(ctx, list)
	if apierrors.IsForbidden(err) && namespace != metav1.NamespaceAll {
		err = c.List(ctx, list, client.InNamespace(namespace))
	}
	if apimeta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

func (s *Snapshot) readMeshRoutes(ctx context.Context, c client.Reader, namespace string) error {
	for kind := range MeshKinds {
		for _, version := range MeshVersions {
			list := &unstructured.UnstructuredList{}
			list.SetGroupVersionKind(schema.GroupVersionKind{Group: gatewayv1.GroupName, Version: version, Kind: kind + "List"})
			served, err := listRoutes(ctx, c, list, namespace)
			if err != nil {
				return fmt.Errorf("observe: %w", err)
			}
			for i := range list.Items {
				if err := s.addMeshRoute(kind, &list.Items[i]); err != nil {
					return fmt.Errorf("observe: %s %s/%s: %w", kind, list.Items[i].GetNamespace(), list.Items[i].GetName(), err)
				}
			}
			if served {
				break
			}
		}
	}
	return nil
}

func (s *Snapshot) addMeshRoute(kind string, o *unstructured.Unstructured) error {
	var route struct {
		metav1.ObjectMeta `json:"metadata"`
		Spec              gatewayv1.CommonRouteSpec `json:"spec"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &route); err != nil {
		return err
	}
	s.Routes = append(s.Routes, cluster.MeshRoute(kind, &route.ObjectMeta, route.Spec.ParentRefs))
	return nil
}

func pointers[T any](list []T) []*T {
	out := make([]*T, len(list))
	for i := range list {
		out[i] = &list[i]
	}
	return out
}

// Domain implements Reader.
func (s *Snapshot) Domain() string { return s.ClusterDomain }

// Seen is empty: there is no watch.
func (s *Snapshot) Seen(string) string { return "" }

// GetService finds a Service by its name.
func (s *Snapshot) GetService(namespace, name string) *corev1.Service {
	return named(s.Services, namespace, name)
}

// GetDeployment finds a Deployment by its name.
func (s *Snapshot) GetDeployment(namespace, name string) *appsv1.Deployment {
	return named(s.Deployments, namespace, name)
}

// ListServices filters the Services.
func (s *Snapshot) ListServices(by ServiceIndex, key string) []*corev1.Service {
	return Filter(s.Services, by, key)
}

// ListDeployments filters the Deployments.
func (s *Snapshot) ListDeployments(by DeploymentIndex, key string) []*appsv1.Deployment {
	return Filter(s.Deployments, by, key)
}

// ListPods filters the pods.
func (s *Snapshot) ListPods(by PodIndex, key string) []*Pod {
	return Filter(s.Pods, by, key)
}

// Istio is nil where Istio's kinds are not served.
func (s *Snapshot) Istio() IstioReader {
	if !s.IstioServed {
		return nil
	}
	return istioSnapshot{s}
}

// MeshRoutes filters the routes of the Gateway API.
func (s *Snapshot) MeshRoutes(namespace, service string) []istio.MeshRoute {
	var out []istio.MeshRoute
	for _, r := range s.Routes {
		is := func(p istio.MeshParent) bool { return p.Namespace == namespace && p.Name == service }
		if slices.ContainsFunc(r.Parents, is) {
			out = append(out, r)
		}
	}
	return out
}

// istioSnapshot is a Snapshot's IstioReader.
type istioSnapshot struct{ *Snapshot }

func (s istioSnapshot) GetVirtualService(namespace, name string) *networkingv1.VirtualService {
	return named(s.VirtualServices, namespace, name)
}

func (s istioSnapshot) GetDestinationRule(namespace, name string) *networkingv1.DestinationRule {
	return named(s.DestinationRules, namespace, name)
}

func (s istioSnapshot) ListVirtualServices(hostKey string) []*networkingv1.VirtualService {
	return Filter(s.VirtualServices, ByHost[*networkingv1.VirtualService](s.ClusterDomain), hostKey)
}

func (s istioSnapshot) ListDestinationRules(hostKey string) []*networkingv1.DestinationRule {
	return Filter(s.DestinationRules, ByHost[*networkingv1.DestinationRule](s.ClusterDomain), hostKey)
}

func (s istioSnapshot) Has(namespace, name string) bool {
	return s.GetVirtualService(namespace, name) != nil || s.GetDestinationRule(namespace, name) != nil
}

func (s istioSnapshot) Names() []types.NamespacedName {
	var out []types.NamespacedName
	for _, o := range s.VirtualServices {
		out = append(out, nameOf(o))
	}
	for _, o := range s.DestinationRules {
		out = append(out, nameOf(o))
	}
	return out
}

// named is the object of a name; nil where there is none.
func named[T metav1.Object](list []T, namespace, name string) T {
	var none T
	for _, o := range list {
		if o.GetNamespace() == namespace && o.GetName() == name {
			return o
		}
	}
	return none
}
