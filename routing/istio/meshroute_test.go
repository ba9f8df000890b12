package istio_test

import (
	"testing"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

// meshRoute is a route of the Gateway API, created in the given second, counted like the ages of objects; name is
// "namespace/name".
func meshRoute(kind, name string, seconds int, port int32) istio.MeshRoute {
	vs := age(routes(name), seconds)
	return istio.MeshRoute{Kind: kind, Namespace: vs.Namespace, Name: vs.Name, CreatedAt: vs.CreationTimestamp.Time,
		Parents: []istio.MeshParent{{Namespace: "shop", Name: "ratings"}, {Namespace: "shop", Name: "reviews", Port: port}}}
}

// The package test/lab/validation proves each of these against istiod's own code.
func TestMeshRouteProblems(t *testing.T) {
	const (
		everybody = "in the mesh already"
		shop      = "for clients in namespace shop, in place of a release"
		bank      = "for clients in namespace bank, in place of a release"
	)
	web := service(release.Port{Name: "http", Number: 80}, release.Port{Name: "tcp", Number: 9000})
	for _, c := range []struct {
		name  string
		route istio.MeshRoute
		ours  *networkingv1.VirtualService
		of    release.Service
		whose string // empty if the route is no conflict
	}{
		{name: "before ours", route: meshRoute(istio.HTTPRoute, "shop/mine", 9, 0), of: web, whose: everybody},
		{name: "older than ours", route: meshRoute(istio.HTTPRoute, "shop/mine", 0, 0), ours: ourRoutes(1), of: web,
			whose: everybody},
		{name: "as old as ours, so that names decide", route: meshRoute(istio.HTTPRoute, "shop/mine", 1, 0),
			ours: ourRoutes(1), of: web, whose: everybody},
		{name: "younger than ours", route: meshRoute(istio.HTTPRoute, "shop/mine", 2, 0), ours: ourRoutes(1), of: web,
			whose: shop},
		{name: "in a client's namespace", route: meshRoute(istio.GRPCRoute, "bank/theirs", 0, 0), of: web, whose: bank},
		{name: "younger, in a client's namespace", route: meshRoute(istio.GRPCRoute, "bank/theirs", 2, 0),
			ours: ourRoutes(1), of: web, whose: bank},
		{name: "connections from everywhere", route: meshRoute(istio.TCPRoute, "bank/theirs", 0, 0), ours: ourRoutes(1),
			of: web, whose: everybody},
		{name: "younger, connections", route: meshRoute(istio.TCPRoute, "bank/theirs", 2, 0), ours: ourRoutes(1), of: web,
			whose: bank},
		{name: "its port", route: meshRoute(istio.HTTPRoute, "shop/mine", 0, 80), of: web, whose: everybody},
		{name: "another protocol's port", route: meshRoute(istio.HTTPRoute, "shop/mine", 0, 9000), of: web},
		{name: "a port that is not there", route: meshRoute(istio.HTTPRoute, "shop/mine", 0, 81), of: web},
		{name: "connections of an HTTP port", route: meshRoute(istio.TCPRoute, "shop/mine", 0, 80), of: web},
		{name: "no port for it", route: meshRoute(istio.HTTPRoute, "shop/mine", 0, 0),
			of: service(release.Port{Name: "tcp", Number: 9000})},
		{name: "requests of a sniffed port", route: meshRoute(istio.HTTPRoute, "shop/mine", 0, 0),
			of: service(release.Port{Name: "web", Number: 80}), whose: everybody},
		{name: "connections of a sniffed port", route: meshRoute(istio.TCPRoute, "shop/mine", 0, 0),
			of: service(release.Port{Name: "web", Number: 80}), whose: everybody},
		{name: "another Service", of: web,
			route: istio.MeshRoute{Kind: istio.HTTPRoute, Namespace: "bank", Name: "theirs", CreatedAt: time.Unix(0, 0),
				Parents: []istio.MeshParent{{Namespace: "bank", Name: "reviews"}, {Namespace: "shop", Name: "ratings"}}}},
	} {
		got := meshRouteProblems(c.of, c.ours, c.route)
		if c.whose == "" {
			if len(got) != 0 {
				t.Errorf("%s: %v", c.name, got)
			}
			continue
		}
		want := c.route.Kind + " " + c.route.Namespace + "/" + c.route.Name + " routes Service shop/reviews " + c.whose +
			"; remove its parentRef to that Service; grayscale never edits it"
		if len(got) != 1 || got[0].Kind != intent.Conflict || got[0].Reason != mesh.ReasonHostConflict ||
			got[0].String() != want {
			t.Errorf("%s: %v, want %s", c.name, got, want)
		}
	}
}

// The problems of several routes do not depend on the order in which they were read.
func TestMeshRouteProblemsAreSortedByAge(t *testing.T) {
	web := service(release.Port{Name: "http", Number: 80})
	first, second := meshRoute(istio.GRPCRoute, "shop/zebra", 0, 0), meshRoute(istio.HTTPRoute, "shop/alpha", 1, 0)
	a := meshRouteProblems(web, nil, first, second)
	b := meshRouteProblems(web, nil, second, first)
	if len(a) != 2 || len(b) != 2 || a[0].String() != b[0].String() || a[0].String() == a[1].String() {
		t.Errorf("%v, then %v", a, b)
	}
}
