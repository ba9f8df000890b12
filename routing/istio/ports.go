package istio

import (
	"fmt"
	"strings"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// Reasons of problems with a Service's ports.
const (
	ReasonNoRoutablePort  = "NoRoutablePort"
	ReasonMirrorNeedsHTTP = "MirrorNeedsHTTP"
)

// kind is how Istio routes a port.
type kind int

const (
	unroutable kind = iota // UDP and SCTP pass by Istio
	httpKind
	tcpKind
	tlsKind
	sniffed // Istio looks at each connection: HTTP or TCP
)

// wellKnownTCP are ports that Istio takes for TCP unless they say otherwise, because their servers speak first
// (istio pkg/config/kube/conversion.go, wellKnownPorts).
var wellKnownTCP = map[int32]bool{25: true, 3306: true, 27017: true}

// kindOf follows istio pkg/config/kube/conversion.go ConvertProtocol: appProtocol first, else the port name up to its
// first dash, in any case.
func kindOf(p release.Port) kind {
	if p.Protocol != "" && p.Protocol != "TCP" {
		return unroutable
	}
	name := p.Name
	if p.AppProtocol != "" {
		name = p.AppProtocol
		switch name {
		case "kubernetes.io/h2c", "kubernetes.io/ws":
			return httpKind
		case "kubernetes.io/wss":
			return tlsKind
		}
	}
	name, _, _ = strings.Cut(strings.ToLower(name), "-")
	switch name {
	case "http", "http2", "grpc", "http_proxy":
		return httpKind
	case "https", "tls":
		return tlsKind
	case "tcp", "mongo", "redis", "mysql":
		return tcpKind
	case "udp":
		return unroutable
	}
	if wellKnownTCP[p.Number] {
		return tcpKind
	}
	return sniffed
}

// PortProblems says why the Service's ports cannot be released, or not in the way that is asked: mirror is true
// where copies of requests are. A port without a protocol is no problem: Istio tells HTTP from TCP by looking, and
// gets routes for both.
func PortProblems(s release.Service, mirror bool) []intent.Problem {
	if s.ExternalName {
		return []intent.Problem{{Kind: intent.Invalid, Reason: ReasonNoRoutablePort,
			Message: fmt.Sprintf("Service %s/%s is of type ExternalName and has no pods", s.Namespace, s.Name),
			Fix:     "release behind a Service with a selector"}}
	}
	routable, requests := false, false
	for _, p := range s.Ports {
		k := kindOf(p)
		routable = routable || k != unroutable
		requests = requests || k == httpKind || k == sniffed
	}
	switch {
	case !routable:
		return []intent.Problem{{Kind: intent.Pending, Reason: ReasonNoRoutablePort,
			Message: fmt.Sprintf("Service %s/%s has no TCP port, and Istio routes no others", s.Namespace, s.Name),
			Fix:     "add a port with protocol TCP"}}
	case mirror && !requests:
		return []intent.Problem{{Key: intent.KeyStrategy, Kind: intent.Pending, Reason: ReasonMirrorNeedsHTTP,
			Message: fmt.Sprintf("Service %s/%s has no HTTP port, and only HTTP requests can be mirrored", s.Namespace, s.Name),
			Fix:     "name its port http-... or set appProtocol, or choose another strategy"}}
	}
	return nil
}
