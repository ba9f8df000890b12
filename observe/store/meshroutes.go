package store

import (
	"context"
	"fmt"
	"reflect"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	ctrlcluster "sigs.k8s.io/controller-runtime/pkg/cluster"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/routing/cluster"
	"grayscale.dev/grayscale/routing/istio"
)

// meshRoute is what is decoded of a route of any kind and version. The Gateway API's own types would each decode all
// rules, and only those of one version: what is read here is the same in all.
type meshRoute struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              gatewayv1.CommonRouteSpec `json:"spec"`
}

// meshRouteList is what the API server lists.
type meshRouteList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []meshRoute `json:"items"`
}

// DeepCopyObject copies the route.
func (r *meshRoute) DeepCopyObject() runtime.Object {
	out := &meshRoute{TypeMeta: r.TypeMeta}
	r.DeepCopyInto(&out.ObjectMeta)
	r.Spec.DeepCopyInto(&out.Spec)
	return out
}

// DeepCopyObject copies the list.
func (l *meshRouteList) DeepCopyObject() runtime.Object {
	out := &meshRouteList{TypeMeta: l.TypeMeta, Items: make([]meshRoute, len(l.Items))}
	l.DeepCopyInto(&out.ListMeta)
	for i := range l.Items {
		out.Items[i] = *l.Items[i].DeepCopyObject().(*meshRoute)
	}
	return out
}

// meshScheme knows a meshRoute under the name of each kind in each version.
func meshScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, version := range observe.MeshVersions {
		gv := schema.GroupVersion{Group: gatewayv1.GroupName, Version: version}
		for kind := range observe.MeshKinds {
			s.AddKnownTypeWithName(gv.WithKind(kind), &meshRoute{})
			s.AddKnownTypeWithName(gv.WithKind(kind+"List"), &meshRouteList{})
		}
		metav1.AddToGroupVersion(s, gv)
	}
	return s
}

// meshClients makes clients of the Gateway API's versions.
func meshClients(from ctrlcluster.Cluster) func(version string) (rest.Interface, error) {
	codecs := serializer.NewCodecFactory(meshScheme())
	return func(version string) (rest.Interface, error) {
		gv := schema.GroupVersion{Group: gatewayv1.GroupName, Version: version}
		c, err := apiutil.RESTClientForGVK(gv.WithKind(istio.HTTPRoute), false, false, from.GetConfig(), codecs,
			from.GetHTTPClient())
		if err != nil {
			return nil, fmt.Errorf("a client of %s: %w", gv, err)
		}
		return c, nil
	}
}

// byParent has routes by the Services that they have as parents: "namespace/name".
var byParent = observe.Index[*istio.MeshRoute]{Name: "parent", Keys: func(r *istio.MeshRoute) []string {
	var out []string
	for _, key := range parentsOf(r) {
		out = append(out, key.String())
	}
	return out
}}

// parentsOf are the Services that the route has as parents, as often as it names them.
func parentsOf(r *istio.MeshRoute) []types.NamespacedName {
	var out []types.NamespacedName
	for _, p := range r.Parents {
		out = append(out, types.NamespacedName{Namespace: p.Namespace, Name: p.Name})
	}
	return out
}

// trimMeshRoute keeps the parents that are Services. Most routes have Gateways alone, and are not kept.
func trimMeshRoute(kind string) func(*meshRoute) *istio.MeshRoute {
	return func(r *meshRoute) *istio.MeshRoute {
		out := cluster.MeshRoute(kind, &r.ObjectMeta, r.Spec.ParentRefs)
		if len(out.Parents) == 0 {
			return nil
		}
		return &out
	}
}

func sameMeshRoute(before, after *istio.MeshRoute) bool { return reflect.DeepEqual(before, after) }

// meshRoutes are the routes of the kinds that the API server serves.
type meshRoutes struct {
	client func(version string) (rest.Interface, error)

	lock   sync.RWMutex
	served map[string]servedKind // by kind
}

// servedKind is one kind of routes, while it is watched.
type servedKind struct {
	version string
	routes  *objects[istio.MeshRoute]
	stop    context.CancelFunc
}

// version is that in which a kind is watched, empty where it is not.
func (m *meshRoutes) version(kind string) string {
	m.lock.RLock()
	defer m.lock.RUnlock()
	return m.served[kind].version
}

// forget ends the watch of one kind of routes.
func (m *meshRoutes) forget(kind string) {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.served[kind].stop()
	delete(m.served, kind)
}

// watchMeshRoutes begins to watch one kind of routes, and returns once all are there.
func (s *Store) watchMeshRoutes(ctx, limit context.Context, kind, version string) error {
	from, err := s.meshRoutes.client(version)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	routes := newObjects(observe.MeshKinds[kind], codec[istio.MeshRoute]{}, byParent)
	follow(s, routes, sameMeshRoute, s.affectedByMeshRoute)
	var sources []source
	for _, namespace := range s.namespaces {
		sources = append(sources, newSink(routes, trimMeshRoute(kind), from, namespace))
	}
	go run(ctx, sources)
	if err := synced(limit, sources); err != nil {
		stop()
		return err
	}
	s.meshRoutes.lock.Lock()
	defer s.meshRoutes.lock.Unlock()
	if before, ok := s.meshRoutes.served[kind]; ok { // of another version: at no time is nothing known
		before.stop()
	}
	s.meshRoutes.served[kind] = servedKind{version, routes, stop}
	return nil
}

// affectedByMeshRoute are the Services with something to decide among the route's parents.
func (s *Store) affectedByMeshRoute(r *istio.MeshRoute) []types.NamespacedName {
	var out []types.NamespacedName
	for _, key := range parentsOf(r) {
		if observe.Active(s, key) {
			out = append(out, key)
		}
	}
	return out
}
