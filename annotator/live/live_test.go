// Package live tries the controller against a real API server, with the real Deployment controller beside it.
package live

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	istioscheme "istio.io/client-go/pkg/clientset/versioned/scheme"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"grayscale.dev/grayscale/annotator"
	"grayscale.dev/grayscale/observe/store"
	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/test/harness"
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(harness.Main(m, harness.Options{}))
}

// settle is short, since no test here looks at what Envoy serves.
const settle = 300 * time.Millisecond

// unlimited is more writes than any test makes.
const unlimited = 1 << 40

// controller is one running annotator.
type controller struct {
	cancel context.CancelFunc
	ended  chan error
	writes *writes
}

// start runs the annotator for one namespace, because other tests' run at the same time, until the test ends or stop is
// called. allowed is how many writes it may make to the namespace before its connection breaks for good, as in a crash;
// before is called before each of them where it is not nil.
func start(t *testing.T, namespace string, allowed int64, before func(*http.Request)) *controller {
	t.Helper()
	return startFor(t, []string{namespace}, namespace, allowed, before)
}

// startFor is start for more than one namespace, or the whole cluster where there is none.
func startFor(t *testing.T, namespaces []string, namespace string, allowed int64, before func(*http.Request)) *controller {
	t.Helper()
	c := &controller{ended: make(chan error, 1), writes: &writes{namespace: "/namespaces/" + namespace + "/", broken: make(chan struct{}), before: before}}
	c.writes.left.Store(allowed)
	config := harness.Config()
	config.QPS = -1
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) { return c.writes.pass(next, r) })
	})
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), istioscheme.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	mgr, err := manager.New(config, manager.Options{Scheme: scheme, Logger: ctrl.Log,
		Metrics: metricsserver.Options{BindAddress: "0"}})
	if err != nil {
		t.Fatal(err)
	}
	settings := routing.Settings{Settle: settle, ClusterDomain: "cluster.local", RootNamespace: "istio-system"}
	known, err := store.New(mgr, namespaces, settings.ClusterDomain)
	if err := errors.Join(err, mgr.Add(known)); err != nil {
		t.Fatal(err)
	}
	if _, err := annotator.Setup(mgr, annotator.Options{Store: known, Settings: settings, Name: t.Name()}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	go func() { c.ended <- mgr.Start(ctx) }()
	t.Cleanup(func() { c.stop(t) })
	return c
}

// stop ends the controller and waits until it has ended. It may be called twice.
func (c *controller) stop(t *testing.T) {
	t.Helper()
	c.cancel()
	if err, first := <-c.ended; first {
		if err != nil {
			t.Errorf("the manager ended with: %v", err)
		}
		close(c.ended)
	}
}

// writes counts what the controller writes to one namespace, Events and all reading aside, and breaks the connection
// after some. Those of earlier tests may still be on their way out.
type writes struct {
	namespace string
	left      atomic.Int64
	made      atomic.Int64
	broken    chan struct{}
	once      atomic.Bool
	before    func(*http.Request) // called before each write where it is set
	codes     sync.Map            // of the answers to writes: status code to *atomic.Int64
}

type roundTrip func(*http.Request) (*http.Response, error)

// RoundTrip sends one request.
func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

var errCrashed = errors.New("crashed on purpose")

func (w *writes) pass(next http.RoundTripper, r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet || isEvent(r.URL.Path) || !strings.Contains(r.URL.Path, w.namespace) {
		return next.RoundTrip(r)
	}
	if left := w.left.Add(-1); left == -1 || w.once.Load() {
		if w.once.CompareAndSwap(false, true) {
			close(w.broken)
		}
		return nil, errCrashed
	}
	if w.before != nil {
		w.before(r)
	}
	w.made.Add(1)
	answer, err := next.RoundTrip(r)
	if err == nil {
		w.count(answer.StatusCode).Add(1)
	}
	return answer, err
}

// count is how many writes were answered with the status code.
func (w *writes) count(code int) *atomic.Int64 {
	n, _ := w.codes.LoadOrStore(code, new(atomic.Int64))
	return n.(*atomic.Int64)
}

func isEvent(path string) bool { return strings.Contains(path, "/events") }
