package istio_test

import (
	"testing"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// TestProtocols covers what Istio's ConvertProtocol distinguishes. The package test/lab/validation compares the same
// cases with Istio's own function.
func TestProtocols(t *testing.T) {
	for _, c := range []struct {
		port release.Port
		want string // h: http route, t: tcp route
	}{
		{release.Port{Name: "http", Number: 80}, "h"},
		{release.Port{Name: "HTTP-web", Number: 80}, "h"},
		{release.Port{Name: "http2", Number: 80}, "h"},
		{release.Port{Name: "grpc-api", Number: 9090}, "h"},
		{release.Port{Name: "grpc-web", Number: 9090}, "h"},
		{release.Port{Name: "tcp-x", Number: 80, AppProtocol: "http"}, "h"},
		{release.Port{Name: "tcp", Number: 80, AppProtocol: "kubernetes.io/h2c"}, "h"},
		{release.Port{Name: "tcp", Number: 80, AppProtocol: "kubernetes.io/ws"}, "h"},
		{release.Port{Name: "tcp", Number: 9000}, "t"},
		{release.Port{Name: "mongo-db", Number: 9000}, "t"},
		{release.Port{Name: "redis", Number: 6379}, "t"},
		{release.Port{Name: "mysql", Number: 9000}, "t"},
		{release.Port{Name: "http", Number: 80, AppProtocol: "tcp"}, "t"},
		{release.Port{Name: "https", Number: 443, AppProtocol: "tcp"}, "t"},
		{release.Port{Number: 25}, "t"},
		{release.Port{Number: 53, Protocol: "TCP"}, "t"},
		{release.Port{Name: "db", Number: 3306}, "t"},
		{release.Port{Number: 27017}, "t"},
		{release.Port{Name: "http", Number: 3306}, "h"},
		{release.Port{Number: 80}, "ht"},
		{release.Port{Name: "web", Number: 8080}, "ht"},
		{release.Port{Name: "http", Number: 8080, AppProtocol: "example.com/own"}, "ht"},
		{release.Port{Name: "http", Number: 80, Protocol: "UDP"}, ""},
		{release.Port{Name: "http", Number: 80, Protocol: "SCTP"}, ""},
		{release.Port{Name: "udp-x", Number: 80}, ""},
		{release.Port{Name: "https", Number: 443}, ""},
		{release.Port{Name: "tls-x", Number: 443}, ""},
		{release.Port{Name: "tcp", Number: 443, AppProtocol: "kubernetes.io/wss"}, ""},
	} {
		vs := virtualService(service(c.port), only("v1"), release.State{})
		got := ""
		if len(vs.Spec.Http) == 1 {
			got += "h"
		}
		if len(vs.Spec.Tcp) == 1 {
			got += "t"
		}
		if got != c.want || len(vs.Spec.Tls) > 0 {
			t.Errorf("port %+v has routes %q, want %q", c.port, got, c.want)
		}
	}
}

func TestPortProblems(t *testing.T) {
	db, dns := release.Port{Name: "redis", Number: 6379}, release.Port{Number: 53, Protocol: "UDP"}
	for _, c := range []struct {
		name    string
		service release.Service
		mirror  bool
		want    string // the one problem's sentence; empty for none
	}{
		{name: "http", service: service(web, db, dns), mirror: true},
		{name: "sniffed", service: service(release.Port{Number: 8080}), mirror: true},
		{name: "tcp", service: service(db)},
		{name: "missing", service: release.Service{Namespace: "shop", Name: "reviews", Missing: true}},
		{name: "mirror of connections", service: service(db), mirror: true,
			want: "Service shop/reviews has no HTTP port, and only HTTP requests can be mirrored; " +
				"set appProtocol: http on its port if it serves HTTP, or choose another strategy"},
		{name: "udp", service: service(dns),
			want: "Service shop/reviews has no TCP port, and Istio routes no others; add a port with protocol TCP"},
		{name: "no ports", service: service(),
			want: "Service shop/reviews has no TCP port, and Istio routes no others; add a port with protocol TCP"},
		{name: "tls", service: service(web, release.Port{Name: "https", Number: 443}),
			want: "Service shop/reviews declares port 443 (https) as TLS, which Istio can only route by server name: " +
				"clients that use another name would bypass the mesh; " +
				"set appProtocol: tcp on that port; TLS between client and pod stays as it is"},
		{name: "headless",
			service: release.Service{Namespace: "shop", Name: "reviews", Headless: true, Ports: []release.Port{web}},
			want: "Service shop/reviews is headless: its clients choose a pod by themselves, and Envoy keeps to that choice; " +
				"release behind a Service with a cluster IP"},
		{name: "exported to nobody",
			service: release.Service{Namespace: "shop", Name: "reviews", ExportTo: []string{"~"}, Ports: []release.Port{web}},
			want: "Service shop/reviews is shown to no client of the mesh: " +
				"so says its annotation networking.istio.io/exportTo; " +
				"remove that annotation, or name the namespaces of its clients in it"},
		{name: "external", service: release.Service{Namespace: "shop", Name: "reviews", ExternalName: true},
			want: "Service shop/reviews is of type ExternalName: clients leave the cluster, and no pods serve it; " +
				"release behind a Service with a selector and a cluster IP"},
	} {
		got := around(c.service).PortProblems(c.mirror)
		if c.want == "" {
			if len(got) != 0 {
				t.Errorf("%s: %v", c.name, got)
			}
			continue
		}
		if len(got) != 1 || got[0].Kind != intent.Pending || got[0].String() != c.want {
			t.Errorf("%s:\n got %v\nwant %s", c.name, got, c.want)
		}
	}
}
