package cluster

import (
	"fmt"
	"net"
	"strconv"
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
	// autoBase is where the search for free ports starts: under Linux's ephemeral range (32768 and up), so that no
	// outgoing connection takes a port between the search and its use.
	autoBase = 15000
	autoLast = 32000
)

// choosePorts takes the ports from base on 127.0.0.1; a taken one is an error. Base 0 takes the first free run of ports on
// own, an address that only this lab uses.
func choosePorts(base int, own string) (ports, error) {
	if base != 0 {
		if base < 1 || base+portCount-1 > 65535 {
			return ports{}, fmt.Errorf("--base-port %d is not allowed: choose 1 to %d, or 0 for free ports", base, 65536-portCount)
		}
		const host = "127.0.0.1"
		if taken, err := firstTaken(host, base); err != nil {
			return ports{}, fmt.Errorf("port %d on %s: %w: choose another --base-port (it takes %d ports), or leave it out", taken, host, err, portCount)
		}
		return portsFrom(host, base), nil
	}
	var last error
	for base := autoBase; base+portCount <= autoLast; base += portCount {
		_, err := firstTaken(own, base)
		if err == nil {
			return portsFrom(own, base), nil
		}
		last = err
	}
	return ports{}, fmt.Errorf("no %d free ports in a row on %s from %d to %d: %w", portCount, own, autoBase, autoLast, last)
}

func portsFrom(host string, base int) ports {
	p := ports{host: host}
	for i, field := range []*int{
		&p.meshProxy, &p.gateway, &p.meshAdmin, &p.gatewayAdmin, &p.apiServer, &p.pods,
		&p.istiodMonitoring, &p.istiodHTTP, &p.istiodGRPC, &p.controllers, &p.etcdClient, &p.etcdPeer,
	} {
		*field = base + i
	}
	return p
}

// firstTaken tries every port of a run; it returns the first that cannot be had, and why.
func firstTaken(host string, base int) (int, error) {
	for port := base; port < base+portCount; port++ {
		listener, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			return port, err
		}
		if err := listener.Close(); err != nil {
			return port, err
		}
	}
	return 0, nil
}

func (p ports) address(port int) string { return net.JoinHostPort(p.host, strconv.Itoa(port)) }

func (p ports) url(scheme string, port int) string { return scheme + "://" + p.address(port) }
