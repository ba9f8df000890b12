package webhook

import (
	"net"
	"sync"
)

// sharedListener closes an address' connections beyond maxConnections, so that no address can take all of them.
type sharedListener struct {
	net.Listener
	lock sync.Mutex
	open map[string]int // by IP address
}

// Accept returns the next connection from an address that has fewer than its share.
func (l *sharedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from, _, err := net.SplitHostPort(conn.RemoteAddr().String())
		if err == nil && l.take(from) {
			return &sharedConn{Conn: conn, release: sync.OnceFunc(func() { l.release(from) })}, nil
		}
		_ = conn.Close() // nothing has been sent on it, so the error does not matter
	}
}

func (l *sharedListener) take(from string) bool {
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.open[from] >= maxConnections {
		return false
	}
	l.open[from]++
	return true
}

func (l *sharedListener) release(from string) {
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.open[from]--; l.open[from] == 0 {
		delete(l.open, from)
	}
}

type sharedConn struct {
	net.Conn
	release func()
}

// Close gives the connection back to its address' share.
func (c *sharedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
