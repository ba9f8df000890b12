package translate

import (
	"net"
	"strconv"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"
	"istio.io/istio/pilot/pkg/model"
)

var lab20 = Addresses{Octet: 20, MeshHost: "127.20.0.2", ProxyHost: "127.20.0.1", ProxyPort: 15000}

// fixed is a generator that always answers the same.
type fixed struct {
	resources model.Resources
}

func (f fixed) Generate(*model.Proxy, *model.WatchedResource, *model.PushRequest) (model.Resources, model.XdsLogDetails, error) {
	return f.resources, model.DefaultXdsLogDetails, nil
}

func (f fixed) GenerateDeltas(*model.Proxy, *model.PushRequest, *model.WatchedResource) (model.Resources, model.DeletedResources, model.XdsLogDetails, bool, error) {
	return f.resources, model.DeletedResources{"gone"}, model.DefaultXdsLogDetails, true, nil
}

func TestPodAddress(t *testing.T) {
	for in, want := range map[string]string{
		"10.20.1.7":   "127.20.1.7",
		"10.21.1.7":   "10.21.1.7", // another lab's
		"192.168.1.1": "192.168.1.1",
		"fd00::1":     "fd00::1",
		"example.com": "example.com",
	} {
		if got := lab20.pod(in); got != want {
			t.Errorf("pod(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestListenerAddress(t *testing.T) {
	for _, c := range []struct {
		address string
		port    uint32
		want    string
	}{
		{"127.0.0.1", 6379, "127.20.0.2:6379"},
		{"127.0.0.1", 80, "127.20.0.2:64592"},
		{"127.0.0.1", 1024, "127.20.0.2:1024"},
		{"127.0.0.1", 15000, "127.20.0.1:15000"},
		{"127.0.0.9", 15000, "127.0.0.9:15000"},
		{"10.20.1.1", 80, "127.20.1.1:80"},
	} {
		host, port := lab20.listener(c.address, c.port)
		if got := net.JoinHostPort(host, strconv.Itoa(int(port))); got != c.want {
			t.Errorf("listener(%q, %d) = %s, want %s", c.address, c.port, got, c.want)
		}
	}
}

func TestEndpointsMoveWithoutTouchingTheCache(t *testing.T) {
	cached := pack(t, "outbound|80||web", assignment("10.20.1.1", "10.20.3.4"))
	foreign := pack(t, "outbound|80||other", assignment("192.168.1.1"))
	before := proto.CloneOf(cached)
	generator := Endpoints(fixed{model.Resources{cached, foreign}}, lab20)

	got, _, err := generator.Generate(nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	deltas, deleted, _, usedDelta, err := generator.GenerateDeltas(nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := assignment("127.20.1.1", "127.20.3.4")
	for name, resources := range map[string]model.Resources{"Generate": got, "GenerateDeltas": deltas} {
		moved := &endpoint.ClusterLoadAssignment{}
		unpack(t, resources[0], moved)
		if diff := cmp.Diff(want, moved, protocmp.Transform()); diff != "" {
			t.Errorf("%s: endpoints (-want +got):\n%s", name, diff)
		}
		if resources[0].GetName() != cached.GetName() {
			t.Errorf("%s: name %q, want %q", name, resources[0].GetName(), cached.GetName())
		}
		if resources[1] != foreign {
			t.Errorf("%s: endpoints of no Pod were copied", name)
		}
	}
	if !usedDelta || len(deleted) != 1 {
		t.Errorf("GenerateDeltas: used delta %t, deleted %v; want what the wrapped generator says", usedDelta, deleted)
	}
	if diff := cmp.Diff(before, cached, protocmp.Transform()); diff != "" {
		t.Errorf("the cached resource was changed (-before +after):\n%s", diff)
	}
}

func TestNothingToPushStaysNothing(t *testing.T) {
	got, _, err := Endpoints(fixed{}, lab20).Generate(nil, nil, nil)
	if err != nil || got != nil {
		t.Errorf("endpoints: %v, %v; want nil, nil", got, err)
	}
	got, _, err = Listeners(fixed{}, lab20).Generate(&model.Proxy{Type: model.SidecarProxy}, nil, nil)
	if err != nil || got != nil {
		t.Errorf("listeners: %v, %v; want nil, nil", got, err)
	}
}

func TestEndpointsRefuseAnotherType(t *testing.T) {
	wrong := pack(t, "web", &listener.Listener{})
	if _, _, err := Endpoints(fixed{model.Resources{wrong}}, lab20).Generate(nil, nil, nil); err == nil {
		t.Error("a listener passed for endpoints")
	}
}

func TestListenersOfSidecarsOnlyMove(t *testing.T) {
	original := pack(t, "127.0.0.1_6379", &listener.Listener{Name: "127.0.0.1_6379", Address: socket("127.0.0.1", 6379)})
	generator := Listeners(fixed{model.Resources{original}}, lab20)
	for nodeType, want := range map[model.NodeType]string{model.SidecarProxy: "127.20.0.2", model.Router: "127.0.0.1"} {
		got, _, err := generator.Generate(&model.Proxy{Type: nodeType}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		one := &listener.Listener{}
		unpack(t, got[0], one)
		if address := one.GetAddress().GetSocketAddress().GetAddress(); address != want {
			t.Errorf("%s: listens on %s, want %s", nodeType, address, want)
		}
	}
}

func TestHTTPProxyHeedsPorts(t *testing.T) {
	proxy := pack(t, "http_proxy", &route.RouteConfiguration{
		Name: "http_proxy", IgnorePortInHostMatching: true,
		VirtualHosts: []*route.VirtualHost{
			{Name: "two:80", Domains: []string{"two:80", "two.default:80"}},
			{Name: "two:8090", Domains: []string{"two:8090"}},
			{Name: "web:80", Domains: []string{"web", "web:80"}},
			{Name: "block_all", Domains: []string{"*"}},
		},
	})
	other := pack(t, "80", &route.RouteConfiguration{Name: "80", IgnorePortInHostMatching: true})
	got, _, err := Routes(fixed{model.Resources{proxy, other}}).Generate(nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	config := &route.RouteConfiguration{}
	unpack(t, got[0], config)
	want := &route.RouteConfiguration{
		Name: "http_proxy",
		VirtualHosts: []*route.VirtualHost{
			{Name: "two:80", Domains: []string{"two:80", "two.default:80", "two", "two.default"}},
			{Name: "two:8090", Domains: []string{"two:8090"}},
			{Name: "web:80", Domains: []string{"web", "web:80"}},
			{Name: "block_all", Domains: []string{"*"}},
		},
	}
	if diff := cmp.Diff(want, config, protocmp.Transform()); diff != "" {
		t.Errorf("http_proxy (-want +got):\n%s", diff)
	}
	if got[1] != other {
		t.Error("the route of a Service port was copied")
	}
}

func assignment(addresses ...string) *endpoint.ClusterLoadAssignment {
	locality := &endpoint.LocalityLbEndpoints{}
	for _, address := range addresses {
		locality.LbEndpoints = append(locality.LbEndpoints, &endpoint.LbEndpoint{
			HostIdentifier: &endpoint.LbEndpoint_Endpoint{Endpoint: &endpoint.Endpoint{Address: socket(address, 8080)}},
		})
	}
	return &endpoint.ClusterLoadAssignment{ClusterName: "web", Endpoints: []*endpoint.LocalityLbEndpoints{locality}}
}

func socket(address string, port uint32) *core.Address {
	return &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
		Address: address, PortSpecifier: &core.SocketAddress_PortValue{PortValue: port},
	}}}
}

func pack(t *testing.T, name string, message proto.Message) *discovery.Resource {
	t.Helper()
	packed, err := anypb.New(message)
	if err != nil {
		t.Fatal(err)
	}
	return &discovery.Resource{Name: name, Resource: packed}
}

func unpack(t *testing.T, resource *discovery.Resource, into proto.Message) {
	t.Helper()
	if err := resource.GetResource().UnmarshalTo(into); err != nil {
		t.Fatal(err)
	}
}
