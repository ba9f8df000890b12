package pods

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	corev1 "k8s.io/api/core/v1"
)

// echoSettings is what one echo container is made of.
type echoSettings struct {
	container *corev1.Container
	address   netip.Addr // where it listens
	behaviour behaviour
	pod       func() *corev1.Pod                   // the Pod as it is now: answers show its labels
	isTCP     func(port corev1.ContainerPort) bool // asked at each accept, for Services come and go
	counter   *counter
	wake      func() // tells the Pod that the container is over
}

// echo is the app behind every ordinary image: it answers each request with who it is.
type echo struct {
	echoSettings
	started time.Time
	servers []*http.Server
	grpc    *grpc.Server
	tcp     *tcpConns

	endOnce sync.Once
	ended   chan struct{} // closed when over
	code    int32         // exit code, valid once ended is closed
}

// startEcho listens on every TCP containerPort; when one cannot be had, none is kept.
func startEcho(settings echoSettings) (*echo, error) {
	e := &echo{echoSettings: settings, started: time.Now(), tcp: newTCPConns(), ended: make(chan struct{})}
	e.grpc = newGRPCServer(e)
	listeners, err := e.listen()
	if err != nil {
		return nil, err
	}
	for _, l := range listeners {
		server := newHTTPServer(e)
		e.servers = append(e.servers, server)
		go serve(server, l)
	}
	if e.behaviour.crashAfter > 0 {
		time.AfterFunc(e.behaviour.crashAfter, func() { e.cut(1) }) // fires into nothing when the container is over by then
	}
	return e, nil
}

func serve(server *http.Server, l net.Listener) {
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		slog.Error("echo server ended", "address", l.Addr().String(), "error", err)
	}
}

func (e *echo) listen() ([]net.Listener, error) {
	var listeners []net.Listener
	for _, port := range e.container.Ports {
		if port.Protocol != "" && port.Protocol != corev1.ProtocolTCP {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort(e.address.String(), strconv.Itoa(int(port.ContainerPort))))
		if err != nil {
			for _, opened := range listeners {
				_ = opened.Close() // nothing was served yet: nothing can be lost
			}
			return nil, fmt.Errorf("container %q: containerPort %d: %w", e.container.Name, port.ContainerPort, err)
		}
		listeners = append(listeners, &splitListener{
			Listener: l,
			isTCP:    func() bool { return e.isTCP(port) },
			handle:   func(conn net.Conn) { e.tcp.serve(conn, e.greet) },
		})
	}
	return listeners, nil
}

// splitListener gives HTTP connections to its caller and serves the others itself.
type splitListener struct {
	net.Listener
	isTCP  func() bool
	handle func(net.Conn) // must not block
}

// Accept returns the next HTTP connection.
func (l *splitListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil || !l.isTCP() {
			return conn, err
		}
		l.handle(conn)
	}
}

func (e *echo) ready(now time.Time) (bool, time.Duration) {
	if wait := e.started.Add(e.behaviour.readyAfter).Sub(now); wait > 0 {
		return false, wait
	}
	return true, 0
}

// stop closes the ports, lets the requests in flight finish, and then is over.
func (e *echo) stop(within time.Duration) {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		var all sync.WaitGroup
		for _, server := range e.servers {
			// Past the deadline cut closes what is left: the error says nothing more.
			all.Go(func() { _ = server.Shutdown(ctx) })
		}
		all.Go(func() { e.tcp.shutdown(ctx) })
		all.Wait()
		e.cut(0)
	}()
}

func (e *echo) kill() { e.cut(137) }

// cut closes everything at once and marks the container over with this exit code, unless it already is.
func (e *echo) cut(code int32) {
	e.endOnce.Do(func() {
		for _, server := range e.servers {
			_ = server.Close() // closing a socket that is already closed is the aim
		}
		e.tcp.close()
		e.code = code
		close(e.ended)
		e.wake()
	})
}

func (e *echo) exited() (int32, bool) {
	select {
	case <-e.ended:
		return e.code, true
	default:
		return 0, false
	}
}
