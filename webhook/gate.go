package webhook

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"grayscale.dev/grayscale/routing"
)

const (
	// lookAgain is between two looks that nobody has caused, lookRetry after one that failed.
	lookAgain = 5 * time.Minute
	lookRetry = 250 * time.Millisecond
	// lookPause is the least time between two looks that callers with unknown paths can cause.
	lookPause = 100 * time.Millisecond
	// refusalPause is the least time between two lines in the log about refused callers.
	refusalPause = time.Minute
)

// gate lets the API server's questions in and nobody else's. The API server proves itself by no certificate, unless its own
// command line says so; but it alone is told the paths that the webhook configurations hold. So each of them ends with a secret, which
// grayscale puts there as it does the CA: whoever may read webhook configurations, which is no right of namespaces' users,
// knows it, and no other Pod does.
type gate struct {
	configuration string
	reader        client.Reader // past the caches
	writer        client.Writer

	paths atomic.Pointer[map[string]string] // with their secrets, of every webhook, and the handlers' without

	lock   sync.Mutex
	tried  time.Time // when the last look began
	looked time.Time // when the last one began that did not fail
	told   time.Time // when a refusal was last logged
}

// homes are the paths of the webhooks by their names in the manifests, without the secrets.
var homes = map[string]string{
	"mutate.grayscale.dev":   MutatePath,
	"validate.grayscale.dev": ValidatePath,
	"drain.grayscale.dev":    DrainPath,
	"precede.grayscale.dev":  PrecedePath,
	"retire.grayscale.dev":   RetirePath,
}

// NeedLeaderElection tells the manager that every replica has a gate.
func (g *gate) NeedLeaderElection() bool { return false }

// Start puts secrets where they are missing until the context ends: a configuration loses them where it is replaced.
func (g *gate) Start(ctx context.Context) error {
	for {
		next := lookAgain
		if err := g.keep(ctx); err != nil && ctx.Err() == nil {
			ctrl.LoggerFrom(ctx).Error(err, "the webhooks' secret paths; trying again", "after", lookRetry.String())
			next = lookRetry
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(next):
		}
	}
}

func (g *gate) keep(ctx context.Context) error {
	g.lock.Lock()
	defer g.lock.Unlock()
	return g.look(ctx)
}

// look reads the paths from the webhook configurations, where it completes them first; the lock is held.
func (g *gate) look(ctx context.Context) error {
	g.tried = time.Now()
	found := map[string]string{}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, kind := range []client.Object{
		&admissionregistrationv1.MutatingWebhookConfiguration{}, &admissionregistrationv1.ValidatingWebhookConfiguration{},
	} {
		configuration, err := g.complete(ctx, kind)
		if err != nil {
			return fmt.Errorf("%T %s: %w", kind, g.configuration, err)
		}
		for _, to := range targets(configuration) {
			if home := homeOf(to); home != "" {
				found[to.path()] = home
			}
		}
	}
	g.paths.Store(&found)
	g.looked = g.tried
	return nil
}

// complete writes a secret behind every path that has none, and gives the configuration as it is then. A write is refused where somebody else wrote in between, such
// as another replica with its own secret: what that one left is taken then.
func (g *gate) complete(ctx context.Context, kind client.Object) (client.Object, error) {
	for {
		configuration := kind.DeepCopyObject().(client.Object)
		err := g.reader.Get(ctx, types.NamespacedName{Name: g.configuration}, configuration)
		if err != nil {
			return configuration, client.IgnoreNotFound(err) // an administrator may run the controller without webhooks
		}
		before := configuration.DeepCopyObject().(client.Object)
		if !addSecrets(configuration) {
			return configuration, nil
		}
		err = g.writer.Patch(ctx, configuration, client.StrategicMergeFrom(before, client.MergeFromWithOptimisticLock{}),
			client.FieldOwner(routing.FieldManager))
		if !apierrors.IsConflict(err) {
			return configuration, err
		}
	}
}

// addSecrets puts one behind every path of ours that has none, and reports whether there was any.
func addSecrets(configuration client.Object) (missing bool) {
	for _, to := range targets(configuration) {
		if home := homeOf(to); home != "" && !secret(to.path(), home) {
			path := home + "/" + strings.ToLower(rand.Text()) // the API server takes lower-case names alone
			to.config.Service.Path, missing = &path, true
		}
	}
	return missing
}

// secret reports whether a path is home's with something behind it.
func secret(path, home string) bool {
	behind, found := strings.CutPrefix(path, home+"/")
	return found && behind != ""
}

// home is the handler's path for a path that is in the webhook configurations; empty for every other one. One that is new to this
// replica cannot be told from a forged one without looking, which forgers cannot have done more often than every lookPause: callers
// with unknown paths wait for the next look together. A look that fails tells nothing: they wait for the one after it, until the
// context ends, which is the error.
func (g *gate) home(ctx context.Context, path string) (string, error) {
	for arrived := time.Now(); ; {
		if home := g.known(path); home != "" {
			return home, nil
		}
		wait := g.lookSince(ctx, arrived)
		if wait == 0 {
			return g.known(path), nil
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(wait):
		}
	}
}

// lookSince looks, unless somebody has done so since the time given; or it tells how long that has to wait.
func (g *gate) lookSince(ctx context.Context, arrived time.Time) (wait time.Duration) {
	g.lock.Lock()
	defer g.lock.Unlock()
	if g.looked.After(arrived) {
		return 0
	}
	if wait := lookPause - time.Since(g.tried); wait > 0 {
		return wait
	}
	if err := g.look(context.WithoutCancel(ctx)); err != nil { // one caller who goes must not end what others wait for
		ctrl.Log.WithName("webhook").Error(err, "a caller's path cannot be checked; trying again", "after", lookRetry.String())
		return lookRetry
	}
	return 0
}

// known compares with all of them in constant time, so that how long it takes tells nothing about a secret.
func (g *gate) known(path string) string {
	found, paths := "", g.paths.Load()
	if paths == nil {
		return found
	}
	for p, home := range *paths {
		if subtle.ConstantTimeCompare([]byte(p), []byte(path)) == 1 {
			found = home
		}
	}
	return found
}

// guard lets callers through that know a path, and sends all others away before a byte of their body is read, and those whose
// path could not be checked within answerLimit.
func (g *gate) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), answerLimit)
		home, err := g.home(ctx, r.URL.Path)
		cancel()
		if err != nil {
			http.Error(w, "the webhook configuration that tells the path could not be read; ask again", http.StatusServiceUnavailable)
			return
		}
		if home != "" {
			r = r.WithContext(r.Context()) // a copy
			r.URL = &url.URL{Path: home, RawQuery: r.URL.RawQuery}
			next.ServeHTTP(w, r)
			return
		}
		g.tell(r.RemoteAddr)
		// What they send is not waited for, and they get no second question out of one handshake.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now()) // every connection of the server has deadlines
		w.Header().Set("Connection", "close")
		http.Error(w, "only the API server is answered: the webhook configuration has told it the path", http.StatusForbidden)
	})
}

// tell logs a refusal now and then: callers cannot fill the log. Their path is not in it: it may be a secret but for a typo.
func (g *gate) tell(caller string) {
	g.lock.Lock()
	defer g.lock.Unlock()
	if time.Since(g.told) < refusalPause {
		return
	}
	g.told = time.Now()
	ctrl.Log.WithName("webhook").Info("refused a caller that does not know the webhook's path; more of them are not logged for a while",
		"caller", caller, "pause", refusalPause.String())
}

// target is one webhook of a configuration.
type target struct {
	name   string
	config *admissionregistrationv1.WebhookClientConfig
}

func (t target) path() string {
	if t.config.Service.Path == nil {
		return ""
	}
	return *t.config.Service.Path
}

// homeOf is the path of ours that a webhook leads to, by what stands there or else by its name; empty where it is none of ours.
func homeOf(t target) string {
	if t.config.Service == nil {
		return ""
	}
	for _, home := range homes {
		if path := t.path(); path == home || secret(path, home) {
			return home
		}
	}
	return homes[t.name]
}

func targets(configuration client.Object) []target {
	var out []target
	switch c := configuration.(type) {
	case *admissionregistrationv1.MutatingWebhookConfiguration:
		for i := range c.Webhooks {
			out = append(out, target{c.Webhooks[i].Name, &c.Webhooks[i].ClientConfig})
		}
	case *admissionregistrationv1.ValidatingWebhookConfiguration:
		for i := range c.Webhooks {
			out = append(out, target{c.Webhooks[i].Name, &c.Webhooks[i].ClientConfig})
		}
	}
	return out
}
