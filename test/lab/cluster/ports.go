package cluster

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
)

// ports are where the lab's own components listen, all on one host.
type ports struct {
	host string

	apiServer, etcdClient, etcdPeer, controllers int
	istiodGRPC, istiodHTTP, istiodMonitoring     int
	pods                                         int
	meshProxy, meshAdmin                         int
	gateway, gatewayAdmin                        int
}

const (
	portCount = 12
	// lowestEphemeral is where Linux begins to give ports to outgoing connections (ip_local_port_range): from there on one
	// may take a port between the look whether it is free and its use.
	lowestEphemeral = 32768
	// autoBase and autoLast are where the search for free ports goes on.
	autoBase = 15000
	autoLast = 32000
)

// role is what a port is for.
type role struct {
	component, use string
	port           *int
}

// roles are all ports, in the order of their numbers.
func (p *ports) roles() []role {
	return []role{
		{"mesh-envoy", "HTTP proxy", &p.meshProxy}, {"gateway-envoy", "gateway", &p.gateway},
		{"mesh-envoy", "admin interface", &p.meshAdmin}, {"gateway-envoy", "admin interface", &p.gatewayAdmin},
		{"kube-apiserver", "API", &p.apiServer}, {"pods", "counters", &p.pods},
		{"istiod", "metrics", &p.istiodMonitoring}, {"istiod", "readiness", &p.istiodHTTP}, {"istiod", "XDS", &p.istiodGRPC},
		{"kube-controller-manager", "readiness", &p.controllers}, {"etcd", "clients", &p.etcdClient}, {"etcd", "peers", &p.etcdPeer},
	}
}

// choosePorts takes the ports from base on 127.0.0.1; a taken one is an error. Base 0 takes the first free run of ports
// on own, an address that only this lab uses.
func choosePorts(base int, own string) (ports, error) {
	if base != 0 {
		if base < 1 || base+portCount > lowestEphemeral {
			return ports{}, fmt.Errorf("--base-port %d is not allowed: choose 1 to %d (Linux gives those from %d on to outgoing connections), or 0 for free ports",
				base, lowestEphemeral-portCount, lowestEphemeral)
		}
		p := portsFrom("127.0.0.1", base)
		return p, p.firstTaken(anyRole)
	}
	var last error
	for base := autoBase; base+portCount <= autoLast; base += portCount {
		p := portsFrom(own, base)
		if last = p.firstTaken(anyRole); last == nil {
			return p, nil
		}
	}
	return ports{}, fmt.Errorf("no %d free ports in a row on %s from %d to %d: %w", portCount, own, autoBase, autoLast, last)
}

func portsFrom(host string, base int) ports {
	p := ports{host: host}
	for i, r := range p.roles() {
		*r.port = base + i
	}
	return p
}

// firstTaken tries the ports of some roles; the first that cannot be had is the error.
func (p *ports) firstTaken(of func(role) bool) error {
	for _, r := range p.roles() {
		if !of(r) {
			continue
		}
		listener, err := net.Listen("tcp", p.address(*r.port))
		if errors.Is(err, syscall.EADDRINUSE) {
			return p.taken(r)
		}
		if err != nil {
			return fmt.Errorf("port %d on %s, for %s (%s): %w", *r.port, p.host, r.component, r.use, err)
		}
		if err := listener.Close(); err != nil {
			return err
		}
	}
	return nil
}

func anyRole(role) bool { return true }

func rolesOf(component string) func(role) bool {
	return func(r role) bool { return r.component == component }
}

func roleOf(port int) func(role) bool {
	return func(r role) bool { return *r.port == port }
}

// taken is what a user is told of a port that another process has.
func (p *ports) taken(r role) error {
	return fmt.Errorf("port %d on %s, for %s (%s), is taken by another process: end that process, or choose another --base-port (it takes %d ports)",
		*r.port, p.host, r.component, r.use, portCount)
}

func (p ports) address(port int) string { return net.JoinHostPort(p.host, strconv.Itoa(port)) }

func (p ports) url(scheme string, port int) string { return scheme + "://" + p.address(port) }
