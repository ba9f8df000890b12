package cluster

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
)

// A lab owns the second octet X of 10.X.0.0/16 and 127.X.0.0/16. The bounds keep away from addresses that other
// software is known to use: 127.0.0.* everywhere, 127.1.* and neighbours in people's own set-ups.
const (
	firstOctet = 20
	lastOctet  = 250
	octetPort  = 15999 // whoever listens on 127.X.0.1 at this port owns X
)

// octet is a claimed second octet; it is this process's until release, or until the process ends in any way.
type octet struct {
	number byte
	claim  net.Listener
}

// claimOctet takes the lowest octet that no other lab on this machine holds.
func claimOctet() (octet, error) {
	for n := firstOctet; n <= lastOctet; n++ {
		o := octet{number: byte(n)}
		listener, err := net.Listen("tcp", net.JoinHostPort(o.host(1), strconv.Itoa(octetPort)))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return octet{}, fmt.Errorf("listen on %s to claim the addresses 127.%d.0.0/16: %w (the lab needs Linux, where all of 127.0.0.0/8 is local)", o.host(1), n, err)
		}
		o.claim = listener
		return o, nil
	}
	return octet{}, fmt.Errorf("all %d address ranges of labs on this machine are taken: end a lab with `lab down`, or free port %d", lastOctet-firstOctet+1, octetPort)
}

// host is 127.X.0.last, one of the lab's own addresses; Pods never get one of 127.X.0.*.
func (o octet) host(last byte) string {
	return netip.AddrFrom4([4]byte{127, o.number, 0, last}).String()
}

func (o octet) release() error { return o.claim.Close() }
