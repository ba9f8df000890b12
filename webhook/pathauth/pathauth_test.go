package pathauth

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	mutatePath = "/mutate-apps-v1-deployment"
	drainPath  = "/drain-apps-v1-deployment"
	retirePath = "/retire"
)

func testOptions() Options {
	return Options{Configuration: "grayscale", Wait: 15 * time.Second, Handlers: map[string]string{
		"mutate.grayscale.dev": mutatePath, "drain.grayscale.dev": drainPath, "retire.grayscale.dev": retirePath}}
}

func refreshedJustNow() *Auth {
	a := New(testOptions())
	a.refreshed = time.Now().Add(time.Hour)
	return a
}

func bound(reader client.Reader) *Auth {
	a := New(testOptions())
	a.Bind(reader, nil)
	return a
}

func to(name, path string) webhook {
	return webhook{name, &admissionregistrationv1.WebhookClientConfig{Service: &admissionregistrationv1.ServiceReference{Path: &path}}}
}

func TestHandlerOf(t *testing.T) {
	for name, tt := range map[string]struct {
		of   webhook
		want string
	}{
		"by its name":             {webhook{"drain.grayscale.dev", &admissionregistrationv1.WebhookClientConfig{Service: &admissionregistrationv1.ServiceReference{}}}, drainPath},
		"by its bare path":        {to("mine.example.com", retirePath), retirePath},
		"by its path with secret": {to("mine.example.com", mutatePath+"/abc"), mutatePath},
		"somebody else's":         {to("mine.example.com", "/mutate"), ""},
		"of a longer name":        {to("mine.example.com", retirePath+"d/abc"), ""},
		"outside of the cluster":  {webhook{"drain.grayscale.dev", &admissionregistrationv1.WebhookClientConfig{}}, ""},
	} {
		if got := New(testOptions()).handlerOf(tt.of); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

// A path reaches only its own handler, and has to match exactly. Before any path is known, no handler is reached.
func TestGuard(t *testing.T) {
	reached := ""
	next := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { reached = r.URL.Path })
	ask := func(a *Auth, path string) (string, int) {
		reached = ""
		w := httptest.NewRecorder()
		a.Guard(next).ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader("{}")))
		return reached, w.Code
	}
	known := refreshedJustNow() // it has just refreshed, so it does not call the API server
	known.paths.Store(&map[string]string{drainPath + "/s3cret": drainPath, retirePath + "/0ther": retirePath})
	if handler, code := ask(known, drainPath+"/s3cret?timeout=6s"); handler != drainPath || code != http.StatusOK {
		t.Errorf("the right path leads to %q: %d", handler, code)
	}
	for _, path := range []string{drainPath, drainPath + "/", drainPath + "/0ther", drainPath + "/s3cre", drainPath + "/s3cret/", drainPath + "/S3CRET", retirePath + "/s3cret", "/"} {
		if handler, code := ask(known, path); handler != "" || code != http.StatusForbidden {
			t.Errorf("%s leads to %q: %d", path, handler, code)
		}
	}
	if handler, code := ask(refreshedJustNow(), drainPath); handler != "" || code != http.StatusForbidden {
		t.Errorf("before the first refresh %q is reached: %d", handler, code)
	}
}

// busy is an API server that fails some reads of the webhook configurations.
type busy struct {
	client.Reader
	failures int
}

func (b *busy) Get(ctx context.Context, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	if b.failures--; b.failures >= 0 {
		return errors.New("too busy")
	}
	if c, ok := into.(*admissionregistrationv1.MutatingWebhookConfiguration); ok {
		c.Webhooks = []admissionregistrationv1.MutatingWebhook{{Name: "mutate.grayscale.dev", ClientConfig: *to("", mutatePath+"/s3cret").config}}
	}
	return ctx.Err()
}

// A failed refresh proves nothing about a path. The API server's request waits for the next refresh, and so do forged
// ones, which are refused after it. A caller that cannot wait gets an error that does not blame the path, and the
// refresh goes on for the others.
func TestGuardWaitsForARefreshThatSucceeds(t *testing.T) {
	ask := func(ctx context.Context, a *Auth, path string) int {
		w := httptest.NewRecorder()
		next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
		a.Guard(next).ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodPost, path, strings.NewReader("{}")))
		return w.Code
	}
	for path, want := range map[string]int{mutatePath + "/s3cret": http.StatusOK, mutatePath + "/forged": http.StatusForbidden} {
		if code := ask(t.Context(), bound(&busy{failures: 2}), path); code != want {
			t.Errorf("%s is answered with %d after refreshes that failed, want %d", path, code, want)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	a := bound(&busy{failures: 1})
	if code := ask(gone, a, mutatePath+"/s3cret"); code != http.StatusServiceUnavailable {
		t.Errorf("a caller that did not wait is answered with %d", code)
	}
	if code := ask(gone, bound(&busy{}), mutatePath+"/s3cret"); code != http.StatusOK {
		t.Errorf("a refresh that needs no waiting is answered with %d", code)
	}
}
