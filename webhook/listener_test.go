package webhook

import (
	"net"
	"testing"
)

// Each address has a share of connections. Closing a connection gives it back to the share.
func TestSharedListener(t *testing.T) {
	l := &sharedListener{open: map[string]int{}}
	for n := range maxConnections {
		if !l.take("10.0.0.1") {
			t.Fatalf("connection %d is closed", n)
		}
	}
	if l.take("10.0.0.1") {
		t.Error("an address has more than its share")
	}
	if !l.take("10.0.0.2") {
		t.Error("another address has no share")
	}
	conn := &sharedConn{Conn: &net.TCPConn{}, release: func() { l.release("10.0.0.1") }}
	_ = conn.Close() // it was never open, so this fails
	if !l.take("10.0.0.1") {
		t.Error("a closed connection still counts")
	}
	for range maxConnections {
		l.release("10.0.0.1")
	}
	l.release("10.0.0.2")
	if len(l.open) > 0 {
		t.Errorf("addresses without connections are remembered: %v", l.open)
	}
}
