package annotator

import (
	"context"
	"encoding/json"
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
	"sigs.k8s.io/controller-runtime/pkg/manager"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/routing/cluster"
	"grayscale.dev/grayscale/routing/istio"
)

// meshRoute is what is read of a route of any kind and version. The Gateway API's own types would each decode all rules, and
// only those of one version: what is read here is the same in all.
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
func meshClients(mgr manager.Manager) func(version string) (rest.Interface, error) {
	codecs := serializer.NewCodecFactory(meshScheme())
	return func(version string) (rest.Interface, error) {
		gv := schema.GroupVersion{Group: gatewayv1.GroupName, Version: version}
		c, err := apiutil.RESTClientForGVK(gv.WithKind(istio.HTTPRoute), false, false, mgr.GetConfig(), codecs, mgr.GetHTTPClient())
		if err != nil {
			return nil, fmt.Errorf("a client of %s: %w", gv, err)
		}
		return c, nil
	}
}

// byParent indexes routes by the Services that they have as parents: "namespace/name".
const byParent = "parent"

func meshRouteKind(kindName string) kind[*meshRoute] {
	return kind[*meshRoute]{resource: observe.MeshKinds[kindName], trim: trimMeshRoute, pack: packMeshRoute, unpack: unpackMeshRoute,
		indexes: indexes[*meshRoute]{byParent: func(r *meshRoute) []string {
			var out []string
			for _, key := range parentsOf(r) {
				out = append(out, key.String())
			}
			return out
		}}}
}

// trimMeshRoute keeps the parents that are Services. Most routes have Gateways alone.
func trimMeshRoute(r *meshRoute) *meshRoute {
	out := &meshRoute{ObjectMeta: identity(&r.ObjectMeta)}
	for _, p := range r.Spec.ParentRefs {
		if cluster.IsService(p) {
			out.Spec.ParentRefs = append(out.Spec.ParentRefs, p)
		}
	}
	return out
}

// packMeshRoute packs nothing where no Service is a parent: such a route is not kept.
func packMeshRoute(r *meshRoute) ([]byte, error) {
	if len(r.Spec.ParentRefs) == 0 {
		return nil, nil
	}
	spec, err := json.Marshal(r.Spec)
	if err != nil {
		return nil, err
	}
	return packMeta(&r.ObjectMeta, spec)
}

func unpackMeshRoute(bytes []byte) (*meshRoute, error) {
	r := &meshRoute{}
	spec, err := unpackMeta(bytes, &r.ObjectMeta)
	if err != nil {
		return nil, err
	}
	return r, json.Unmarshal(spec, &r.Spec)
}

func sameMeshRoute(before, after *meshRoute) bool {
	return before.UID == after.UID && reflect.DeepEqual(before.Spec, after.Spec)
}

// parentsOf are the Services that the route has as parents, as often as it names them.
func parentsOf(r *meshRoute) []types.NamespacedName {
	var out []types.NamespacedName
	for _, p := range cluster.MeshRoute("", &r.ObjectMeta, r.Spec.ParentRefs).Parents {
		out = append(out, types.NamespacedName{Namespace: p.Namespace, Name: p.Name})
	}
	return out
}

// meshRoutes are the shelves of the kinds that the API server serves.
type meshRoutes struct {
	client func(version string) (rest.Interface, error)

	lock sync.RWMutex
	kept map[string]keptKind // by kind
}

// keptKind is one kind of routes, while it is watched.
type keptKind struct {
	version string
	routes  *shelf[*meshRoute]
	stop    context.CancelFunc
}

// version is that in which a kind is watched, empty where it is not.
func (m *meshRoutes) version(kind string) string {
	m.lock.RLock()
	defer m.lock.RUnlock()
	return m.kept[kind].version
}

// watchKind begins to watch one kind of routes, and returns once all are there. prepare is called with their shelf before
// anything is.
func (c *Caches) watchKind(ctx, limit context.Context, kind, version string, prepare func(*shelf[*meshRoute])) error {
	from, err := c.meshRoutes.client(version)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	routes := newShelf(meshRouteKind(kind))
	prepare(routes)
	var feeds []source
	for _, namespace := range c.namespaces {
		feeds = append(feeds, newFeed(routes, from, namespace))
	}
	go watch(ctx, feeds)
	if err := full(limit, feeds); err != nil {
		stop()
		return err
	}
	c.meshRoutes.lock.Lock()
	defer c.meshRoutes.lock.Unlock()
	if before, ok := c.meshRoutes.kept[kind]; ok { // of another version: at no time is nothing known
		before.stop()
	}
	c.meshRoutes.kept[kind] = keptKind{version, routes, stop}
	return nil
}

// forgetKind ends the watch of one kind of routes.
func (c *Caches) forgetKind(kind string) {
	c.meshRoutes.lock.Lock()
	defer c.meshRoutes.lock.Unlock()
	c.meshRoutes.kept[kind].stop()
	delete(c.meshRoutes.kept, kind)
}

// ofMeshRoute are the Services with something to decide among the route's parents.
func (c *Caches) ofMeshRoute(r *meshRoute) []types.NamespacedName {
	var out []types.NamespacedName
	for _, key := range parentsOf(r) {
		if observe.Active(c, key) {
			out = append(out, key)
		}
	}
	return out
}
