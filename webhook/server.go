package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"
)

// What one caller can cost. The API server needs far less of each; where one is reached the answer is an error, and
// failurePolicy says what becomes of the request.
const (
	// headerLimit bounds a handshake, and a request's header after it.
	headerLimit = 5 * time.Second
	// bodyLimit bounds a whole request from its first byte.
	bodyLimit = 10 * time.Second
	// answerLimit bounds an answer from the end of the header on: it is longer than retirePatience.
	answerLimit = 15 * time.Second
	// idleLimit is how long a connection is kept for the next question. It is longer than the API server keeps it, 90 s (apimachinery's
	// util/net, SetTransportDefaults): where both let go at once, a question that is just being sent has no answer, and is not sent again.
	idleLimit = 2 * time.Minute
	// maxHeader is in bytes; net/http allows 4 KiB more.
	maxHeader = 16 << 10
	// maxBody is the largest question that the API server asks: two objects of 3 MiB each and what is around them. It is the
	// bound of controller-runtime's handler, too.
	maxBody = 7 << 20
	// maxBodies bounds the bodies that are held at once, in bytes: decoding takes several times as much memory.
	maxBodies = 2 * maxBody
	// maxConnections bounds those of one address. The API server's share is what it does at once, 600 by default, and it may
	// come from one address for all its replicas.
	maxConnections = 1024
)

// Server is controller-runtime's webhook server, behind a gate, and with bounds on what its callers can cost.
type Server struct {
	ctrlwebhook.Server
	options ctrlwebhook.Options
	gate    gate
}

// NewServer makes a server that listens where the options say, and answers who knows the paths in the webhook configurations of that
// name. It serves HTTP/1.1, which is what API servers ask webhooks by. Setup has to follow.
func NewServer(options ctrlwebhook.Options, configuration string) *Server {
	if options.WebhookMux == nil {
		options.WebhookMux = http.NewServeMux()
	}
	return &Server{Server: ctrlwebhook.NewServer(options), options: options, gate: gate{configuration: configuration}}
}

// keptWith gives the gate access to the API server.
func (s *Server) keptWith(mgr manager.Manager) error {
	s.gate.reader, s.gate.writer = mgr.GetAPIReader(), mgr.GetClient()
	return mgr.Add(&s.gate)
}

// Start serves until the context ends, and then answers what has been asked already.
func (s *Server) Start(ctx context.Context) error {
	config := &tls.Config{NextProtos: []string{"http/1.1"}}
	for _, change := range s.options.TLSOpts {
		change(config)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(s.options.Host, strconv.Itoa(s.options.Port)))
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           s.gate.guard(bounded(semaphore.NewWeighted(maxBodies), s.options.WebhookMux)),
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) }, // the end cuts no answer short
		ReadHeaderTimeout: headerLimit, ReadTimeout: bodyLimit, WriteTimeout: answerLimit, IdleTimeout: idleLimit,
		MaxHeaderBytes: maxHeader,
	}
	ended := make(chan error, 1)
	go func() {
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerLimit)
		defer cancel()
		ended <- server.Shutdown(last)
	}()
	err = server.Serve(tls.NewListener(&sharedListener{Listener: listener, open: map[string]int{}}, config))
	if !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-ended
}

// bounded has a request wait while the bodies of those before it fill the memory that there is for them.
func bounded(room *semaphore.Weighted, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size := r.ContentLength
		if size < 0 || size > maxBody { // unknown, or refused by the handler once it has read so much
			size = maxBody
		}
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		if err := room.Acquire(ctx, size); err != nil {
			http.Error(w, "too many large questions at once; ask again", http.StatusServiceUnavailable)
			return
		}
		defer room.Release(size)
		next.ServeHTTP(w, r)
	})
}

// sharedListener hangs up on an address that has its share of connections already, so that none takes all of them.
type sharedListener struct {
	net.Listener
	lock sync.Mutex
	open map[string]int // by IP address
}

// Accept gives the next connection from an address within its share.
func (l *sharedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from, _, err := net.SplitHostPort(conn.RemoteAddr().String())
		if err == nil && l.take(from) {
			return &sharedConn{Conn: conn, give: sync.OnceFunc(func() { l.give(from) })}, nil
		}
		_ = conn.Close() // nothing has been said on it
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

func (l *sharedListener) give(from string) {
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.open[from]--; l.open[from] == 0 {
		delete(l.open, from)
	}
}

type sharedConn struct {
	net.Conn
	give func()
}

// Close gives the address its place back.
func (c *sharedConn) Close() error {
	defer c.give()
	return c.Conn.Close()
}
