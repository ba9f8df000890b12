// Package translate fits what istiod sends to Envoy to one lab on one machine: Pod addresses in endpoints and the
// addresses on which the mesh client's sidecar listens become loopback addresses, and its HTTP proxy finds every port
// of a Service.
package translate

import (
	"net/netip"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// loopback is where istiod lets a sidecar without traffic interception listen (istio.io/istio,
// pilot/pkg/networking/core/listener_address.go, LocalhostAddress).
const loopback = "127.0.0.1"

// LowPorts is what is added to the ports under 1024 on which the mesh client's sidecar listens: others than root may
// not bind those, and no Service needs the ports from 64512 on.
const LowPorts = 64512

// Addresses are those of one lab.
type Addresses struct {
	// Octet is X: Pods have addresses 10.X.a.b in the API and listen on 127.X.a.b.
	Octet byte
	// MeshHost is where the mesh client's listeners of Services go instead of 127.0.0.1, which all labs share.
	MeshHost string
	// ProxyHost and ProxyPort are where the mesh client's HTTP proxy listens.
	ProxyHost string
	ProxyPort uint32
}

// pod is where the Pod with this address listens; an address of no Pod of this lab comes back as it is.
func (a Addresses) pod(address string) string {
	parsed, err := netip.ParseAddr(address)
	if err != nil || !parsed.Is4() {
		return address
	}
	raw := parsed.As4()
	if raw[0] != 10 || raw[1] != a.Octet {
		return address
	}
	raw[0] = 127
	return netip.AddrFrom4(raw).String()
}

// listener is where a listener of the mesh client binds instead.
func (a Addresses) listener(address string, port uint32) (string, uint32) {
	switch {
	case address != loopback:
		return a.pod(address), port
	case port == a.ProxyPort:
		return a.ProxyHost, port
	case port < 1024:
		return a.MeshHost, LowPorts + port
	default:
		return a.MeshHost, port
	}
}

// movePod rewrites a Pod's address in place; it tells whether there was anything to rewrite.
func (a Addresses) movePod(address *core.Address) bool {
	socket := address.GetSocketAddress()
	if socket == nil {
		return false
	}
	moved := a.pod(socket.GetAddress())
	changed := moved != socket.GetAddress()
	socket.Address = moved
	return changed
}
