package pods

import (
	"fmt"
	"net/netip"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// Pods get 10.X.1.1 to 10.X.254.254: 10.X.0.* belongs to the lab itself (proxies, node).
const (
	firstThird = 1
	lastThird  = 254
	perThird   = 254
	poolSize   = (lastThird - firstThird + 1) * perThird
)

// addresses hands out Pod addresses of one lab. It goes round the whole pool before it reuses one, so that an Envoy
// which still knows a dead Pod's address meets a closed port and not another version.
type addresses struct {
	octet byte

	mu     sync.Mutex
	owners map[netip.Addr]types.UID
	next   int
}

func newAddresses(octet byte) *addresses {
	return &addresses{octet: octet, owners: map[netip.Addr]types.UID{}}
}

// nodeIP is the address reported as the Node's and as every Pod's hostIP.
func (a *addresses) nodeIP() string {
	return netip.AddrFrom4([4]byte{10, a.octet, 0, 1}).String()
}

// claim gives owner the address that its Pod already reports; false when it is not one of this lab's or is taken.
func (a *addresses) claim(ip string, owner types.UID) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(ip)
	if err != nil || !addr.Is4() {
		return netip.Addr{}, false
	}
	if raw := addr.As4(); raw[0] != 10 || raw[1] != a.octet || raw[2] < firstThird {
		return netip.Addr{}, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if holder, taken := a.owners[addr]; taken && holder != owner {
		return netip.Addr{}, false
	}
	a.owners[addr] = owner
	return addr, true
}

// take gives owner the next free address.
func (a *addresses) take(owner types.UID) (netip.Addr, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for range poolSize {
		third, fourth := firstThird+a.next/perThird, 1+a.next%perThird
		a.next = (a.next + 1) % poolSize
		addr := netip.AddrFrom4([4]byte{10, a.octet, byte(third), byte(fourth)})
		if _, taken := a.owners[addr]; !taken {
			a.owners[addr] = owner
			return addr, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("all %d Pod addresses of 10.%d.0.0/16 are taken: delete some Pods", poolSize, a.octet)
}

// release frees what owner holds of addr; somebody else's address stays.
func (a *addresses) release(addr netip.Addr, owner types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.owners[addr] == owner {
		delete(a.owners, addr)
	}
}

// loopback is where a Pod with address addr really listens: 10.X.a.b becomes 127.X.a.b.
func loopback(addr netip.Addr) netip.Addr {
	raw := addr.As4()
	raw[0] = 127
	return netip.AddrFrom4(raw)
}
