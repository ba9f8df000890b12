package validation

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/pkg/consts"
	"sigs.k8s.io/yaml"

	"istio.io/istio/pilot/test/xds"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/kube"
)

// TestMeshRoutesAreReal: which routes of the Gateway API with the Service as parent take requests or connections of
// which clients away from ours; routing/istio reports these, and says of whose clients.
func TestMeshRoutesAreReal(t *testing.T) {
	shop := map[string]bool{"shop": true}
	for _, c := range []struct {
		name, kind, namespace string
		parent                string          // beside kind and name
		young                 bool            // younger than ours
		requests, connections map[string]bool // by the client's namespace: taken from ours
	}{
		{name: "older HTTPRoute", kind: "HTTPRoute", namespace: "shop", requests: everywhere},
		{name: "younger HTTPRoute", kind: "HTTPRoute", namespace: "shop", young: true, requests: shop},
		{name: "older HTTPRoute in a client's namespace", kind: "HTTPRoute", namespace: "bank", requests: bank},
		{name: "younger HTTPRoute in a client's namespace", kind: "HTTPRoute", namespace: "bank", young: true, requests: bank},
		{name: "HTTPRoute for the HTTP port", kind: "HTTPRoute", namespace: "shop", parent: "port: 80", requests: everywhere},
		{name: "HTTPRoute for the TCP port", kind: "HTTPRoute", namespace: "shop", parent: "port: 9000"},
		{name: "HTTPRoute for a port that the Service does not have", kind: "HTTPRoute", namespace: "shop", parent: "port: 81"},
		{name: "HTTPRoute for a section, which istiod does not read", kind: "HTTPRoute", namespace: "shop", parent: "sectionName: tcp", requests: everywhere},
		{name: "older GRPCRoute", kind: "GRPCRoute", namespace: "shop", requests: everywhere},
		{name: "younger GRPCRoute", kind: "GRPCRoute", namespace: "shop", young: true, requests: shop},
		{name: "older TCPRoute", kind: "TCPRoute", namespace: "shop", connections: everywhere},
		{name: "younger TCPRoute", kind: "TCPRoute", namespace: "shop", young: true, connections: shop},
		{name: "older TCPRoute in a client's namespace", kind: "TCPRoute", namespace: "bank", connections: everywhere},
		{name: "younger TCPRoute in a client's namespace", kind: "TCPRoute", namespace: "bank", young: true, connections: bank},
		{name: "TCPRoute for the TCP port", kind: "TCPRoute", namespace: "shop", parent: "port: 9000", connections: everywhere},
		{name: "TCPRoute for the HTTP port", kind: "TCPRoute", namespace: "shop", parent: "port: 80"},
		{name: "TLSRoute, which needs a TLS port", kind: "TLSRoute", namespace: "shop"},
	} {
		e := examples(t)["http-and-tcp"]
		at := theDayBefore
		if c.young {
			at = now.Add(time.Hour)
		}
		s := xds.NewFakeDiscoveryServer(t, xds.FakeOptions{MeshConfig: mesh.DefaultMeshConfig(), KubeClientModifier: bundled,
			KubernetesObjects: besides(e.object(), meshRoute(t, c.kind, c.namespace, c.parent, at)), Configs: []config.Config{e.rule(t), e.Routes[0].routes(t)}})
		reach(t, c.name, "", s, c.requests, c.connections)
	}
}

// bundled has every custom resource definition say of which release of the Gateway API it is: istiod reads none that is
// older than it knows, or that does not say.
func bundled(c kube.Client) {
	add := func(action clienttesting.Action) (bool, runtime.Object, error) {
		if write, ok := action.(interface{ GetObject() runtime.Object }); ok {
			if o, ok := write.GetObject().(metav1.Object); ok {
				o.SetAnnotations(map[string]string{consts.BundleVersionAnnotation: consts.BundleVersion})
			}
		}
		return false, nil, nil
	}
	for _, verb := range []string{"create", "update"} {
		c.Metadata().(*metadatafake.FakeMetadataClient).PrependReactor(verb, "customresourcedefinitions", add)
	}
}

// meshRoute is a route to the whole Service, made by somebody else, with the Service as parent.
func meshRoute(t *testing.T, kind, namespace, parent string, at time.Time) runtime.Object {
	t.Helper()
	port := 80
	var o metav1.ObjectMetaAccessor
	switch kind {
	case "HTTPRoute":
		o = &gatewayv1.HTTPRoute{}
	case "GRPCRoute":
		o = &gatewayv1.GRPCRoute{}
	case "TCPRoute":
		o, port = &gatewayv1.TCPRoute{}, 9000
	case "TLSRoute":
		o, port = &gatewayv1.TLSRoute{}, 9000
	}
	text := fmt.Sprintf(`
metadata: {namespace: %s, name: mine}
spec:
  parentRefs: [{group: "", kind: Service, namespace: shop, name: reviews, %s}]
  rules: [{backendRefs: [{namespace: shop, name: reviews, port: %d}]}]
`, namespace, parent, port)
	if err := yaml.UnmarshalStrict([]byte(text), o); err != nil {
		t.Fatal(err)
	}
	o.GetObjectMeta().SetCreationTimestamp(metav1.NewTime(at))
	return o.(runtime.Object)
}
