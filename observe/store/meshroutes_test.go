package store

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	fakediscovery "k8s.io/client-go/discovery/fake"
	clienttesting "k8s.io/client-go/testing"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/routing/istio"
)

const manyParents = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {namespace: bank, name: theirs, uid: "1", resourceVersion: "7", creationTimestamp: "2026-01-01T00:00:00Z", labels: {team: bank}}
spec:
  parentRefs:
  - {name: edge}
  - {group: gateway.networking.k8s.io, kind: Gateway, name: web}
  - {group: "", kind: Service, name: web, port: 80}
  - {group: "", kind: Service, namespace: shop, name: web}
  - {group: example.dev, kind: Service, name: other}
  rules: [{backendRefs: [{name: web, port: 80}]}]
`

// decoded is an object of the API server as our client reads it.
func decoded(t *testing.T, text string) *meshRoute {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	o, _, err := serializer.NewCodecFactory(meshScheme()).UniversalDeserializer().Decode(raw, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return o.(*meshRoute)
}

// newMeshRoutes is where a watch of HTTPRoutes writes them.
func newMeshRoutes() *sink[*meshRoute, istio.MeshRoute] {
	routes := newObjects("httproutes", codec[istio.MeshRoute]{}, byParent)
	return newSink(routes, trimMeshRoute(istio.HTTPRoute), nil, "")
}

// Of a route of any kind and version those parents are kept that are Services.
func TestMeshRouteIsReadByItsParents(t *testing.T) {
	c, f := empty("cluster.local"), newMeshRoutes()
	c.meshRoutes.served[istio.HTTPRoute] = servedKind{version: "v1", routes: f.objects, stop: func() {}}
	if err := f.Add(decoded(t, manyParents)); err != nil {
		t.Fatal(err)
	}
	want := istio.MeshRoute{Kind: istio.HTTPRoute, Namespace: "bank", Name: "theirs", CreatedAt: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		Parents: []istio.MeshParent{{Namespace: "bank", Name: "web", Port: 80}, {Namespace: "shop", Name: "web"}}}
	for _, namespace := range []string{"bank", "shop"} {
		got, err := json.Marshal(c.MeshRoutes(namespace, "web"))
		expected, _ := json.Marshal([]istio.MeshRoute{want})
		if err != nil || string(got) != string(expected) {
			t.Errorf("parent %s/web: %s (%v), want %s", namespace, got, err, expected)
		}
	}
	for _, name := range []string{"edge", "other"} {
		if got := c.MeshRoutes("bank", name); len(got) != 0 {
			t.Errorf("parent %s: %v", name, got)
		}
	}
	c.meshRoutes.forget(istio.HTTPRoute)
	if got := c.MeshRoutes("shop", "web"); len(got) != 0 {
		t.Errorf("no longer served: %v", got)
	}
}

// A route with Gateways alone takes no memory, and nobody hears of it until it names a Service.
func TestRoutesOfGatewaysAreNotKept(t *testing.T) {
	f := newMeshRoutes()
	s, changes := f.objects, 0
	s.notify(func(_, _ *istio.MeshRoute) { changes++ })
	gateways := decoded(t, manyParents)
	gateways.Spec.ParentRefs = gateways.Spec.ParentRefs[:2]
	for _, do := range []func(any) error{f.Add, f.Update, f.Delete} {
		if err := do(gateways); err != nil {
			t.Fatal(err)
		}
	}
	if changes != 0 || len(s.entries)+len(s.index) != 0 {
		t.Errorf("notified %d times, kept %v and %v", changes, s.entries, s.index)
	}
	for i, o := range []*meshRoute{gateways, decoded(t, manyParents), gateways} {
		if err := f.Update(o); err != nil || changes != i {
			t.Errorf("step %d: notified %d times (%v)", i, changes, err)
		}
	}
	if len(s.entries)+len(s.index) != 0 {
		t.Errorf("it has lost its parents, and is kept: %v and %v", s.entries, s.index)
	}
}

func TestStatusOfMeshRoutesIsNotRead(t *testing.T) {
	read, changed := trimMeshRoute(istio.HTTPRoute), decoded(t, manyParents)
	before := read(decoded(t, manyParents))
	changed.ResourceVersion = "8"
	if !sameMeshRoute(before, read(changed)) {
		t.Error("another resourceVersion is another route")
	}
	changed.Spec.ParentRefs = changed.Spec.ParentRefs[:3]
	if sameMeshRoute(before, read(changed)) {
		t.Error("other parents are the same")
	}
}

// Each kind is read in the best version in which it is served, and left alone where it is not.
func TestMeshKindsAreReadAsServed(t *testing.T) {
	list := func(version string, kinds ...string) *metav1.APIResourceList {
		out := &metav1.APIResourceList{GroupVersion: gatewayv1.GroupName + "/" + version}
		for _, kind := range kinds {
			out.APIResources = append(out.APIResources, metav1.APIResource{Kind: kind, Name: observe.MeshKinds[kind]},
				metav1.APIResource{Kind: kind, Name: observe.MeshKinds[kind] + "/status"})
		}
		return out
	}
	all := slices.Sorted(maps.Keys(observe.MeshKinds))
	for _, c := range []struct {
		name    string
		served  []*metav1.APIResourceList
		defined []string
		want    map[string]string
		asked   int
	}{
		{"none", nil, all, map[string]string{}, 2},
		{"the current release", []*metav1.APIResourceList{list("v1", all...), list("v1alpha2", istio.TCPRoute)}, all,
			map[string]string{istio.HTTPRoute: "v1", istio.GRPCRoute: "v1", istio.TCPRoute: "v1"}, 1},
		{"an older one", []*metav1.APIResourceList{list("v1", istio.HTTPRoute), list("v1alpha2", istio.GRPCRoute, istio.TCPRoute)}, all,
			map[string]string{istio.HTTPRoute: "v1", istio.GRPCRoute: "v1alpha2", istio.TCPRoute: "v1alpha2"}, 2},
		{"one kind alone", []*metav1.APIResourceList{list("v1", all...)}, []string{istio.HTTPRoute}, map[string]string{istio.HTTPRoute: "v1"}, 1},
	} {
		fake := &clienttesting.Fake{Resources: c.served}
		g := gatewayWatcher{discovery: &fakediscovery.FakeDiscovery{Fake: fake}}
		got, err := g.served(c.defined)
		if err != nil || !maps.Equal(got, c.want) || len(fake.Actions()) != c.asked {
			t.Errorf("%s: %v after %d questions (%v), want %v after %d", c.name, got, len(fake.Actions()), err, c.want, c.asked)
		}
	}
}

func TestMeshSchemeKnowsEveryKind(t *testing.T) {
	for kind := range observe.MeshKinds {
		for _, version := range observe.MeshVersions {
			gvk := schema.GroupVersionKind{Group: gatewayv1.GroupName, Version: version, Kind: kind}
			if !meshScheme().Recognizes(gvk) || !watchedDefinition(definitionOf(kind)) {
				t.Errorf("%s is unknown", gvk)
			}
		}
	}
	if watchedDefinition("tlsroutes.gateway.networking.k8s.io") || watchedDefinition("httproutes.example.dev") {
		t.Error("the definition of a kind that nothing reads is watched")
	}
}

func TestSoonest(t *testing.T) {
	for _, c := range [][3]time.Duration{{0, 0, 0}, {1, 0, 1}, {0, 2, 2}, {1, 2, 1}, {2, 1, 1}} {
		if got := soonest(c[0], c[1]); got != c[2] {
			t.Errorf("of %d and %d: %d", c[0], c[1], got)
		}
	}
}

// A change reaches the releases of the Services that are parents, and no other Service.
func TestMeshRouteReachesItsParents(t *testing.T) {
	r := trimMeshRoute(istio.HTTPRoute)(decoded(t, manyParents))
	c := empty("cluster.local")
	if got := c.affectedByMeshRoute(r); len(got) != 0 {
		t.Errorf("Services without a release: %v", got)
	}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-v2",
		Annotations: map[string]string{"grayscale.dev/strategy": "canary", "grayscale.dev/service": "web"}}}
	if err := newSink(c.deployments, trimDeployment, nil, "").Add(d); err != nil {
		t.Fatal(err)
	}
	if got := c.affectedByMeshRoute(r); len(got) != 1 || got[0].String() != "shop/web" {
		t.Errorf("%v, want shop/web", got)
	}
}
