package webhook

import (
	"net"
	"testing"
)

// One address has its share of connections, and gets one back with each that is closed; another address has its own.
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
	_ = conn.Close() // of a connection that never was
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
