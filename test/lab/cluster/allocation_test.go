package cluster

import (
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"
)

func TestTwoLabsClaimDifferentOctets(t *testing.T) {
	first, err := claimOctet()
	if err != nil {
		t.Fatal(err)
	}
	second, err := claimOctet()
	if err != nil {
		t.Fatal(err)
	}
	if first.number == second.number {
		t.Errorf("both claimed 127.%d", first.number)
	}
	if want := "127." + strconv.Itoa(int(first.number)) + ".0.2"; first.host(2) != want {
		t.Errorf("host(2) = %s, want %s", first.host(2), want)
	}
	for _, o := range []octet{first, second} {
		if err := o.release(); err != nil {
			t.Error(err)
		}
	}
}

func TestPortsAreDistinct(t *testing.T) {
	p := portsFrom("127.0.0.1", 20000)
	seen := map[int]bool{}
	for _, port := range []int{
		p.apiServer, p.etcdClient, p.etcdPeer, p.controllers, p.istiodGRPC, p.istiodHTTP,
		p.istiodMonitoring, p.pods, p.meshProxy, p.meshAdmin, p.gateway, p.gatewayAdmin,
	} {
		if port < 20000 || port >= 20000+portCount || seen[port] {
			t.Errorf("port %d: outside the %d ports from 20000, or used twice", port, portCount)
		}
		seen[port] = true
	}
}

func TestTakenBasePortIsNamed(t *testing.T) {
	taken := take(t, "127.0.0.1")
	_, err := choosePorts(taken, "127.20.0.1")
	for _, what := range []string{strconv.Itoa(taken), "mesh-envoy", "--base-port"} {
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("base port %d is taken: error %v; want one that names %s", taken, err, what)
		}
	}
}

// A component that dies as its port was taken meanwhile is told by the port.
func TestPortTakenMeanwhileIsNamed(t *testing.T) {
	l := &lab{dir: directory(t.TempDir()), ports: ports{host: "127.0.0.1", etcdPeer: take(t, "127.0.0.1")}}
	dead := death{component: "etcd", err: errors.New("exit status 1")}
	if err := l.startAgain(dead); err == nil || !strings.Contains(err.Error(), strconv.Itoa(l.ports.etcdPeer)) || !strings.Contains(err.Error(), "etcd (peers)") {
		t.Errorf("error %v; want one that names port %d and what it is for", err, l.ports.etcdPeer)
	}
	dead.component = "istiod" // none of whose ports is taken
	if err := l.startAgain(dead); !errors.Is(err, dead.err) {
		t.Errorf("error %v; want %v", err, dead.err)
	}
}

// take occupies a port under 32768.
func take(t *testing.T, host string) int {
	t.Helper()
	for port := autoLast; port < lowestEphemeral-portCount; port++ {
		if listener, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port))); err == nil {
			t.Cleanup(func() { _ = listener.Close() })
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

func TestBasePortBounds(t *testing.T) {
	for _, base := range []int{-1, lowestEphemeral - portCount + 1, 70000} {
		if _, err := choosePorts(base, "127.20.0.1"); err == nil {
			t.Errorf("base port %d was accepted", base)
		}
	}
}

func TestFreePortsPassOverTakenOnes(t *testing.T) {
	o, err := claimOctet()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = o.release() }()
	own := o.host(ownLast)
	blocker, err := net.Listen("tcp", net.JoinHostPort(own, strconv.Itoa(autoBase+3)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = blocker.Close() }()
	p, err := choosePorts(0, own)
	if err != nil {
		t.Fatal(err)
	}
	if p.host != own || p.meshProxy < autoBase+portCount {
		t.Errorf("chose %s from port %d; want %s beyond the taken port %d", p.host, p.meshProxy, own, autoBase+3)
	}
}
