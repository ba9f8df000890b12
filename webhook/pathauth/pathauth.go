// Package pathauth lets only the API server call the webhook. The API server presents no client certificate unless its
// own command line says so, but it knows the paths in the webhook configurations. So each path ends with a secret,
// which grayscale adds there, as it adds the CA. Only users and Pods that may read webhook configurations can learn the
// secrets. The users of a namespace usually have no such right.
package pathauth

import (
	"context"
	"crypto/subtle"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

const (
	// refreshInterval is the time between refreshes that no caller has caused; after a failed one it is retryAfter.
	refreshInterval = 5 * time.Minute
	retryAfter      = 250 * time.Millisecond
	// refreshPause is the shortest time between refreshes that callers with unknown paths cause.
	refreshPause = 100 * time.Millisecond
	// refreshLimit bounds one refresh.
	refreshLimit = time.Second
)

// Options are all required.
type Options struct {
	// Configuration is the name of the mutating and of the validating webhook configuration.
	Configuration string
	// Handlers are the paths of the handlers, without secrets, by the names of their webhooks in the configurations.
	Handlers map[string]string
	// Wait bounds how long a caller waits for the check of its path.
	Wait time.Duration
}

// Auth knows the secret paths.
type Auth struct {
	options Options
	reader  client.Reader // reads past the caches
	writer  client.Writer

	paths atomic.Pointer[map[string]string] // the handlers' paths, by path with secret

	lock      sync.Mutex
	attempted time.Time // when the last refresh began
	refreshed time.Time // when the last successful refresh began
	logged    time.Time // when a refusal was last logged
}

// New makes an Auth that knows no path yet. Before it guards a server, AddTo or Bind has to give it access to the API
// server.
func New(options Options) *Auth { return &Auth{options: options} }

// Bind gives access to the API server. The reader must read past all caches.
func (a *Auth) Bind(reader client.Reader, writer client.Writer) { a.reader, a.writer = reader, writer }

// AddTo makes a manager maintain the secrets on every replica.
func (a *Auth) AddTo(mgr manager.Manager) error {
	a.Bind(mgr.GetAPIReader(), mgr.GetClient())
	return mgr.Add(a)
}

// NeedLeaderElection is false: every replica checks paths.
func (a *Auth) NeedLeaderElection() bool { return false }

// Start adds missing secrets until the context ends. A configuration loses them when it is replaced.
func (a *Auth) Start(ctx context.Context) error {
	for {
		next := refreshInterval
		a.lock.Lock()
		err := a.refresh(ctx)
		a.lock.Unlock()
		if err != nil && ctx.Err() == nil {
			ctrl.LoggerFrom(ctx).Error(err, "the webhooks' secret paths; trying again", "after", retryAfter.String())
			next = retryAfter
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(next):
		}
	}
}

// refresh adds missing secrets to the webhook configurations, and reads the paths from them. The caller holds the lock.
func (a *Auth) refresh(ctx context.Context) error {
	a.attempted = time.Now()
	found := map[string]string{}
	ctx, cancel := context.WithTimeout(ctx, refreshLimit)
	defer cancel()
	for _, kind := range []client.Object{
		&admissionregistrationv1.MutatingWebhookConfiguration{}, &admissionregistrationv1.ValidatingWebhookConfiguration{},
	} {
		configuration, err := a.complete(ctx, kind)
		if err != nil {
			return fmt.Errorf("%T %s: %w", kind, a.options.Configuration, err)
		}
		for _, w := range webhooksOf(configuration) {
			if handler := a.handlerOf(w); handler != "" {
				found[w.path()] = handler
			}
		}
	}
	a.paths.Store(&found)
	a.refreshed = a.attempted
	return nil
}

// handler returns the handler's path for a path from the webhook configurations, and the empty text for all others. To
// distinguish a path that is new to this replica from a forged one takes a refresh. Callers with unknown paths wait
// together for the next one, so they cause at most one refresh in each refreshPause. A failed refresh proves nothing:
// they wait for the one after it. The error is the context's, where it ends first.
func (a *Auth) handler(ctx context.Context, path string) (string, error) {
	for arrived := time.Now(); ; {
		if handler := a.known(path); handler != "" {
			return handler, nil
		}
		wait := a.refreshSince(ctx, arrived)
		if wait == 0 {
			return a.known(path), nil
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(wait):
		}
	}
}

// refreshSince refreshes, unless a refresh that began after the given time has succeeded. Where it may not refresh yet,
// or fails, it returns how long to wait.
func (a *Auth) refreshSince(ctx context.Context, arrived time.Time) (wait time.Duration) {
	a.lock.Lock()
	defer a.lock.Unlock()
	if a.refreshed.After(arrived) {
		return 0
	}
	if wait := refreshPause - time.Since(a.attempted); wait > 0 {
		return wait
	}
	// A caller that gives up must not cancel the refresh that others wait for.
	if err := a.refresh(context.WithoutCancel(ctx)); err != nil {
		ctrl.Log.WithName("webhook").Error(err, "a caller's path cannot be checked; trying again",
			"after", retryAfter.String())
		return retryAfter
	}
	return 0
}

// known compares the path with all known ones in constant time, so that its duration reveals nothing about a secret.
func (a *Auth) known(path string) string {
	found, paths := "", a.paths.Load()
	if paths == nil {
		return found
	}
	for p, handler := range *paths {
		if subtle.ConstantTimeCompare([]byte(p), []byte(path)) == 1 {
			found = handler
		}
	}
	return found
}

// logPause is the shortest time between two log lines about refused callers.
const logPause = time.Minute

// logRefusal logs at most one refusal in each logPause, so that callers cannot fill the log. It leaves the path out,
// because that may be a secret with a typo.
func (a *Auth) logRefusal(caller string) {
	a.lock.Lock()
	defer a.lock.Unlock()
	if time.Since(a.logged) < logPause {
		return
	}
	a.logged = time.Now()
	ctrl.Log.WithName("webhook").Info(
		"refused a caller that does not know the webhook's path; more of them are not logged for a while",
		"caller", caller, "pause", logPause.String())
}
