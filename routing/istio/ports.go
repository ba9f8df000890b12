package istio

import (
	"fmt"
	"slices"
	"strings"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

// protocol is how Istio routes a port.
type protocol int

const (
	unrouted protocol = iota // UDP and SCTP bypass Envoy
	http
	tcp
	tls
	sniffed // Envoy detects HTTP or TCP for each connection
)

// protocolOf follows Istio: appProtocol first, else the port name up to its first dash, case-insensitive. If that is
// not a protocol, Envoy sniffs (istio pkg/config/kube/conversion.go, ConvertProtocol). Istio's grpc-web needs no case
// here.
func protocolOf(p release.Port) protocol {
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

// isWellKnownTCP: Istio does not sniff the ports of protocols in which the server speaks first, such as SMTP, DNS,
// MySQL and MongoDB (istio pkg/config/kube/conversion.go, wellKnownPorts).
func isWellKnownTCP(port int32) bool {
	return port == 25 || port == 53 || port == 3306 || port == 27017
}

func carriesRequests(p protocol) bool { return p == http || p == sniffed }

func carriesConnections(p protocol) bool { return p == tcp || p == sniffed }

// Routable reports whether Istio chooses pods for clients of the Service at all: the Service has a cluster IP and a TCP
// port.
func (m Mesh) Routable() bool {
	routed := func(p release.Port) bool { return protocolOf(p) != unrouted }
	return !m.Service.ExternalName && !m.Service.Headless && slices.ContainsFunc(m.Service.Ports, routed)
}

// PortProblems say why no release is possible behind the Service, or not with the given strategy. Each is Pending: a
// Service that is applied later may fix it. A port without a declared protocol is no problem: Envoy sniffs it, and it
// gets routes for both outcomes.
func (m Mesh) PortProblems(copies bool) []intent.Problem {
	s := m.Service
	switch {
	case s.Missing:
		return nil // reported as a problem of its own
	case s.ExternalName:
		return pending("", mesh.ReasonUnroutableService, s,
			"is of type ExternalName: clients leave the cluster, and no pods serve it",
			"release behind a Service with a selector and a cluster IP")
	case s.Headless:
		return pending("", mesh.ReasonUnroutableService, s,
			"is headless: its clients choose a pod by themselves, and Envoy keeps to that choice",
			"release behind a Service with a cluster IP")
	case slices.Contains(s.ExportTo, "~"):
		return pending("", mesh.ReasonUnroutableService, s,
			"is shown to no client of the mesh: so says its annotation networking.istio.io/exportTo",
			"remove that annotation, or name the namespaces of its clients in it")
	}
	return protocolProblems(s, copies)
}

func protocolProblems(s release.Service, copies bool) []intent.Problem {
	requests, connections := false, false
	for _, p := range s.Ports {
		protocol := protocolOf(p)
		if protocol == tls {
			return tlsPort(s, p)
		}
		requests = requests || carriesRequests(protocol)
		connections = connections || carriesConnections(protocol)
	}
	switch {
	case !requests && !connections:
		return pending("", mesh.ReasonNoRoutablePort, s,
			"has no TCP port, and Istio routes no others", "add a port with protocol TCP")
	case copies && !requests:
		return pending(intent.KeyStrategy, mesh.ReasonMirrorNeedsHTTP, s,
			"has no HTTP port, and only HTTP requests can be mirrored",
			"set appProtocol: http on its port if it serves HTTP, or choose another strategy")
	}
	return nil
}

// tlsPort: Istio ignores tcp routes on a TLS port, so the candidate would get connections that nobody asked for. A tls
// route needs the server names that clients use. Clients with another name, or none, bypass such a route, or are cut
// off if the mesh only allows registered hosts. So pinning to stable would change what they have now. Declared as plain
// TCP, the same bytes pass and are shared like other connections (istio pilot/pkg/networking/core/tls.go; the package
// test/lab/validation proves each of these).
func tlsPort(s release.Service, p release.Port) []intent.Problem {
	return pending("", mesh.ReasonTLSPort, s,
		fmt.Sprintf("declares port %d%s as TLS, which Istio can only route by server name: "+
			"clients that use another name would bypass the mesh", p.Number, inBrackets(p.Name)),
		"set appProtocol: tcp on that port; TLS between client and pod stays as it is")
}

func inBrackets(name string) string {
	if name == "" {
		return ""
	}
	return " (" + name + ")"
}

func pending(key, reason string, s release.Service, what, fix string) []intent.Problem {
	return []intent.Problem{{Key: key, Kind: intent.Pending, Reason: reason,
		Message: fmt.Sprintf("Service %s/%s %s", s.Namespace, s.Name, what), Fix: fix}}
}
