package cluster

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// egress is the proxy through which the API server reaches the cluster's network, as a konnectivity server is: it takes
// HTTP CONNECT on a Unix socket and dials 127.X.a.b where 10.X.a.b is asked for. Webhooks are thus reached by their
// clientConfig.service, unchanged.
type egress struct {
	server   *http.Server
	listener net.Listener
	octet    byte
}

const egressDialTimeout = 5 * time.Second

// startEgress serves on an abstract Unix socket: it has no file that could outlive the process, and no limit on the
// length of the lab's path.
func startEgress(socket string, octet byte) (*egress, error) {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("listen on %s for the API server's webhook calls: %w", socket, err)
	}
	e := &egress{listener: listener, octet: octet}
	e.server = &http.Server{Handler: e, ReadHeaderTimeout: egressDialTimeout}
	go func() { _ = e.server.Serve(listener) }() // it ends with Close
	return e, nil
}

// Close stops taking connections; tunnels end with the API server that opened them.
func (e *egress) Close() error { return e.server.Close() }

// ServeHTTP opens one tunnel.
func (e *egress) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		http.Error(w, "only CONNECT is served here", http.StatusMethodNotAllowed)
		return
	}
	target, err := loopbackOf(r.Host, e.octet)
	if err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	upstream, err := net.DialTimeout("tcp", target, egressDialTimeout)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = upstream.Close()
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		slog.Warn("egress: answer the API server", "error", err)
	}
	go pipe(upstream, buffered)
	pipe(client, upstream)
}

// pipe copies one direction and then closes where it wrote to, which ends the other direction as well.
func pipe(to net.Conn, from io.Reader) {
	_, _ = io.Copy(to, from) // a tunnel ends with an error whenever one side closes first
	_ = to.Close()
}

// loopbackOf translates 10.X.a.b:port to 127.X.a.b:port, and leaves 127.0.0.0/8 as it is (a webhook by URL). Everything
// else is refused, so that a lab never sends traffic off the machine.
func loopbackOf(address string, octet byte) (string, error) {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return "", fmt.Errorf("CONNECT %s: %w", address, err)
	}
	if target.Addr().IsLoopback() {
		return address, nil
	}
	if !target.Addr().Is4() {
		return "", fmt.Errorf("CONNECT %s: not an IPv4 address", address)
	}
	raw := target.Addr().As4()
	if raw[0] != 10 || raw[1] != octet {
		return "", fmt.Errorf("CONNECT %s: not a Pod of this lab (10.%d.0.0/16)", address, octet)
	}
	raw[0] = 127
	return netip.AddrPortFrom(netip.AddrFrom4(raw), target.Port()).String(), nil
}
