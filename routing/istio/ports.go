package istio

import (
	"fmt"
	"slices"
	"strings"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// Reasons of problems with a Service's type and ports.
const (
	// ReasonUnroutableService is a Service without a cluster IP: Istio cannot choose pods for its clients.
	ReasonUnroutableService = "UnroutableService"
	// ReasonNoRoutablePort is a Service without a TCP port.
	ReasonNoRoutablePort = "NoRoutablePort"
	// ReasonTLSPort is a Service with a port that Istio can only route by the name that TLS clients ask for.
	ReasonTLSPort = "TLSPort"
	// ReasonMirrorNeedsHTTP is a mirror on a Service whose ports carry connections, which cannot be copied.
	ReasonMirrorNeedsHTTP = "MirrorNeedsHTTP"
)

// kind is how Istio routes a port.
type kind int

const (
	unrouted kind = iota // UDP and SCTP pass by Envoy
	http
	tcp
	tls
	sniffed // Envoy looks at each connection: HTTP or TCP
)

// kindOf follows Istio: appProtocol first, else the port name up to its first dash, in any case; where that is no
// protocol, Envoy sniffs (istio pkg/config/kube/conversion.go, ConvertProtocol). In it, grpc-web needs no case of its own here.
func kindOf(p release.Port) kind {
	if p.Protocol != "" && p.Protocol != "TCP" {
		return unrouted
	}
	name := p.Name
	if p.AppProtocol != "" {
		name = p.AppProtocol
		switch name {
		case "kubernetes.io/h2c", "kubernetes.io/ws":
			return http
		case "kubernetes.io/wss":
			return tls
		}
	}
	name, _, _ = strings.Cut(name, "-")
	switch strings.ToLower(name) {
	case "http", "http2", "grpc", "http_proxy":
		return http
	case "https", "tls":
		return tls
	case "tcp", "mongo", "redis", "mysql":
		return tcp
	case "udp":
		return unrouted
	}
	if isWellKnownTCP(p.Number) {
		return tcp
	}
	return sniffed
}

// isWellKnownTCP: Istio does not sniff where servers speak first (istio pkg/config/kube/conversion.go, wellKnownPorts):
// SMTP, DNS, MySQL and MongoDB.
func isWellKnownTCP(port int32) bool {
	return port == 25 || port == 53 || port == 3306 || port == 27017
}

func carriesRequests(k kind) bool { return k == http || k == sniffed }

func carriesConnections(k kind) bool { return k == tcp || k == sniffed }

// Routable reports whether Istio chooses pods for clients of the Service at all: it has a cluster IP and a TCP port.
func Routable(s release.Service) bool {
	return !s.ExternalName && !s.Headless && slices.ContainsFunc(s.Ports, func(p release.Port) bool { return kindOf(p) != unrouted })
}

// PortProblems says why the Service cannot be released behind, or not in the way that is asked; mirror is true where
// copies of requests are. Each is pending: a Service that is applied later may mend it. A port whose protocol is not
// declared is no problem: Envoy sniffs it, and it gets routes for both outcomes.
func PortProblems(s release.Service, mirror bool) []intent.Problem {
	switch {
	case s.Missing:
		return nil // that is another problem, with a sentence of its own
	case s.ExternalName:
		return pending("", ReasonUnroutableService, s, "is of type ExternalName: clients leave the cluster, and no pods serve it",
			"release behind a Service with a selector and a cluster IP")
	case s.Headless:
		return pending("", ReasonUnroutableService, s, "is headless: its clients choose a pod by themselves, and Envoy keeps to that choice",
			"release behind a Service with a cluster IP")
	case slices.Contains(s.ExportTo, "~"):
		return pending("", ReasonUnroutableService, s, "is shown to no client of the mesh: so says its annotation networking.istio.io/exportTo",
			"remove that annotation, or name the namespaces of its clients in it")
	}
	has := map[kind]bool{}
	for _, p := range s.Ports {
		k := kindOf(p)
		if k == tls {
			return tlsPort(s, p)
		}
		has[k] = true
	}
	switch {
	case !has[http] && !has[tcp] && !has[sniffed]:
		return pending("", ReasonNoRoutablePort, s, "has no TCP port, and Istio routes no others", "add a port with protocol TCP")
	case mirror && !has[http] && !has[sniffed]:
		return pending(intent.KeyStrategy, ReasonMirrorNeedsHTTP, s, "has no HTTP port, and only HTTP requests can be mirrored",
			"set appProtocol: http on its port if it serves HTTP, or choose another strategy")
	}
	return nil
}

// tlsPort: Istio ignores tcp routes on a TLS port, so that the candidate would get connections that nobody asked for;
// and a tls route needs the names that clients ask for. Once there is one, clients that use another name, or none,
// bypass the mesh, or are cut off where the mesh knows registered hosts alone: pinning to stable would change what
// they have now. As plain TCP the same bytes pass, and are shared like other connections (istio
// pilot/pkg/networking/core/tls.go; the lab's package validation proves each of these).
func tlsPort(s release.Service, p release.Port) []intent.Problem {
	return pending("", ReasonTLSPort, s,
		fmt.Sprintf("declares port %d%s as TLS, which Istio can only route by server name: clients that use another name would bypass the mesh", p.Number, named(p)),
		"set appProtocol: tcp on that port; TLS between client and pod stays as it is")
}

func named(p release.Port) string {
	if p.Name == "" {
		return ""
	}
	return " (" + p.Name + ")"
}

func pending(key, reason string, s release.Service, what, fix string) []intent.Problem {
	return []intent.Problem{{Key: key, Kind: intent.Pending, Reason: reason,
		Message: fmt.Sprintf("Service %s/%s %s", s.Namespace, s.Name, what), Fix: fix}}
}
