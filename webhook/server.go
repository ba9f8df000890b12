package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/sync/semaphore"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"

	"grayscale.dev/grayscale/webhook/pathauth"
)

// Bounds on what one caller can use. The API server needs far less of each. A request that exceeds one gets an error,
// and failurePolicy decides what happens to it.
const (
	// headerLimit bounds a handshake, and a request's header after it.
	headerLimit = 5 * time.Second
	// bodyLimit bounds a whole request from its first byte.
	bodyLimit = 10 * time.Second
	// answerLimit bounds an answer from the end of the header on. It is longer than uninstallTimeout.
	answerLimit = 15 * time.Second
	// idleLimit is how long an idle connection stays open. The API server closes it after 90 s (apimachinery's
	// util/net, SetTransportDefaults). It must come first: a request that it sends while the webhook closes the
	// connection would fail.
	idleLimit = 2 * time.Minute
	// maxHeader is in bytes; net/http allows 4 KiB more.
	maxHeader = 16 << 10
	// maxBody is the largest request that the API server sends: two objects of 3 MiB each, and the rest of the review.
	// controller-runtime's handler has the same bound.
	maxBody = 7 << 20
	// maxBodies bounds the bodies in memory at the same time, in bytes. Decoding them takes several times as much memory.
	maxBodies = 2 * maxBody
	// maxConnections bounds the connections of one address. An API server makes at most 600 requests at once by default,
	// and all its replicas may come from one address.
	maxConnections = 1024
)

// Server is controller-runtime's webhook server behind secret paths, with bounds on what its callers can use.
type Server struct {
	ctrlwebhook.Server
	options ctrlwebhook.Options
	auth    *pathauth.Auth
}

// NewServer makes a server that listens where the options say, and answers only callers that know the paths in the
// webhook configurations of that name. It serves HTTP/1.1, which API servers use for webhooks. Setup must be called
// before Start.
func NewServer(options ctrlwebhook.Options, configuration string) *Server {
	if options.WebhookMux == nil {
		options.WebhookMux = http.NewServeMux()
	}
	auth := pathauth.New(pathauth.Options{Configuration: configuration, Handlers: handlerPaths, Wait: answerLimit})
	return &Server{Server: ctrlwebhook.NewServer(options), options: options, auth: auth}
}

// Start serves until the context ends. It answers the requests that have arrived by then.
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
		Handler: s.auth.Guard(bounded(semaphore.NewWeighted(maxBodies), s.options.WebhookMux)),
		// The end of ctx must not cancel requests that are being answered.
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
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

// bounded makes a request wait while earlier ones use up the memory for bodies.
func bounded(room *semaphore.Weighted, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size := r.ContentLength
		if size < 0 || size > maxBody { // unknown, or too large: the handler refuses it after maxBody bytes
			size = maxBody
		}
		ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
		defer cancel()
		if err := room.Acquire(ctx, size); err != nil {
			http.Error(w, "too many large requests at once; ask again", http.StatusServiceUnavailable)
			return
		}
		defer room.Release(size)
		next.ServeHTTP(w, r)
	})
}
