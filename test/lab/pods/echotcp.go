package pods

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// greet speaks first, as databases do: one line `<pod> <version>`; then it echoes lines until the client closes.
func (e *echo) greet(conn net.Conn) {
	e.counter.connection()
	time.Sleep(e.behaviour.latency)
	if _, err := io.WriteString(conn, e.greeting()); err != nil {
		return
	}
	lines := bufio.NewReader(conn)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		if _, err := io.WriteString(conn, line); err != nil {
			return
		}
	}
}

// ParseGreeting reads the line with which the echo app opens a TCP connection; ok is false when it is not one. The
// version is empty for a Pod without label `version`.
func ParseGreeting(line string) (pod, version string, ok bool) {
	line, complete := strings.CutSuffix(line, "\n")
	pod, version, found := strings.Cut(line, " ")
	return pod, version, complete && found && pod != "" && !strings.Contains(version, " ")
}

// drainTime is how long a connection may go on echoing what was already sent to it once its Pod stops.
const drainTime = 100 * time.Millisecond

// tcpConns holds the open plain-TCP connections of one container.
type tcpConns struct {
	mu      sync.Mutex
	open    map[net.Conn]struct{}
	closed  bool
	drained chan struct{} // nil until shutdown; closed when the last connection is
}

func newTCPConns() *tcpConns {
	return &tcpConns{open: map[net.Conn]struct{}{}}
}

// serve runs handle on conn in a goroutine and then closes it.
func (t *tcpConns) serve(conn net.Conn, handle func(net.Conn)) {
	if !t.add(conn) {
		_ = conn.Close() // it is refused either way
		return
	}
	go func() {
		defer t.remove(conn)
		handle(conn)
	}()
}

func (t *tcpConns) add(conn net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	if t.drained != nil {
		drain(conn)
	}
	t.open[conn] = struct{}{}
	return true
}

func (t *tcpConns) remove(conn net.Conn) {
	_ = conn.Close() // a failed close of a finished connection changes nothing
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, conn)
	t.noteDrained()
}

// noteDrained needs the lock.
func (t *tcpConns) noteDrained() {
	if t.drained == nil || len(t.open) > 0 {
		return
	}
	select {
	case <-t.drained:
	default:
		close(t.drained)
	}
}

// drain ends the echo loop of conn soon. A failure means that the peer is gone, which ends the loop as well.
func drain(conn net.Conn) {
	_ = conn.SetReadDeadline(time.Now().Add(drainTime))
}

// shutdown lets every connection echo what it has been sent so far, and returns when all are closed or ctx is over.
func (t *tcpConns) shutdown(ctx context.Context) {
	t.mu.Lock()
	if t.drained == nil {
		t.drained = make(chan struct{})
	}
	for conn := range t.open {
		drain(conn)
	}
	t.noteDrained()
	drained := t.drained
	t.mu.Unlock()
	select {
	case <-drained:
	case <-ctx.Done():
	}
}

// close cuts every connection.
func (t *tcpConns) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for conn := range t.open {
		_ = conn.Close() // it is cut either way
	}
}
