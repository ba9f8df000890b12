// Package pathauth lets the API server call the webhook, and nobody else. The API server presents no client certificate
// unless its own command line says so, but it alone knows the paths in the webhook configurations. So each path ends
// with a secret, which grayscale puts there as it does the CA. Whoever may read webhook configurations, which is no
// right of a namespace's users, knows the secrets; no other Pod does.
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
	// refreshInterval is between two refreshes that no caller has caused, retryAfter after one that failed.
	refreshInterval = 5 * time.Minute
	retryAfter      = 250 * time.Millisecond
	// refreshPause is the least time between two refreshes that callers with unknown paths can cause.
	refreshPause = 100 * time.Millisecond
	// refreshLimit bounds one refresh.
	refreshLimit = time.Second
)

// Options are required, all of them.
type Options struct {
	// Configuration is the name of the mutating and of the validating webhook configuration.
	Configuration string
	// Handlers are the paths of the handlers, without a secret, by the name of their webhook in the configurations.
	Handlers map[string]string
	// Wait bounds how long a caller waits until its path can be checked.
	Wait time.Duration
}

// Auth knows the secret paths.
type Auth struct {
	options Options
	reader  client.Reader // past the caches
	writer  client.Writer

	paths atomic.Pointer[map[string]string] // handler paths by path with secret

	lock      sync.Mutex
	attempted time.Time // when the last refresh began
	refreshed time.Time // when the last one began that did not fail
	logged    time.Time // when a refusal was last logged
}

// New makes an Auth that knows no path yet: it refuses all callers until AddTo or Bind gives it access to the API
// server.
func New(options Options) *Auth { return &Auth{options: options} }

// Bind gives access to the API server. The reader must read past all caches.
func (a *Auth) Bind(reader client.Reader, writer client.Writer) { a.reader, a.writer = reader, writer }

// AddTo has a manager maintain the secrets on every replica.
func (a *Auth) AddTo(mgr manager.Manager) error {
	a.Bind(mgr.GetAPIReader(), mgr.GetClient())
	return mgr.Add(a)
}

// NeedLeaderElection tells the manager that every replica checks paths.
func (a *Auth) NeedLeaderElection() bool { return false }

// Start adds missing secrets until the context ends: a configuration loses them when it is replaced.
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

// refresh reads the paths from the webhook configurations, and adds missing secrets to these first. The lock is held.
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

// handler is the handler's path for a path that is in the webhook configurations, and empty for every other one. A path
// that is new to this replica cannot be told from a forged one without a refresh, and callers can cause no more than
// one refresh in every refreshPause: callers with unknown paths wait for the next one together. One that fails tells
// nothing, so they wait for the one after it, until the context ends, which is the error.
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

// refreshSince refreshes, unless that has been done since the time given. It returns how long to wait where it cannot
// yet.
func (a *Auth) refreshSince(ctx context.Context, arrived time.Time) (wait time.Duration) {
	a.lock.Lock()
	defer a.lock.Unlock()
	if a.refreshed.After(arrived) {
		return 0
	}
	if wait := refreshPause - time.Since(a.attempted); wait > 0 {
		return wait
	}
	// A caller that goes away must not end what others wait for.
	if err := a.refresh(context.WithoutCancel(ctx)); err != nil {
		ctrl.Log.WithName("webhook").Error(err, "a caller's path cannot be checked; trying again",
			"after", retryAfter.String())
		return retryAfter
	}
	return 0
}

// known compares with all paths in constant time, so that the time it takes tells nothing about a secret.
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

// logPause is the least time between two log lines about refused callers.
const logPause = time.Minute

// logRefusal logs a refusal now and then: callers cannot fill the log. The path is left out, because it may be a secret
// with a typo.
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
