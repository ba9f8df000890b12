package webhook

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func to(name, path string) target {
	return target{name, &admissionregistrationv1.WebhookClientConfig{Service: &admissionregistrationv1.ServiceReference{Path: &path}}}
}

func TestHomeOf(t *testing.T) {
	for name, tt := range map[string]struct {
		of   target
		want string
	}{
		"by its name":             {target{"drain.grayscale.dev", &admissionregistrationv1.WebhookClientConfig{Service: &admissionregistrationv1.ServiceReference{}}}, DrainPath},
		"by its bare path":        {to("mine.example.com", RetirePath), RetirePath},
		"by its path with secret": {to("mine.example.com", MutatePath+"/abc"), MutatePath},
		"somebody else's":         {to("mine.example.com", "/mutate"), ""},
		"of a longer name":        {to("mine.example.com", RetirePath+"d/abc"), ""},
		"outside of the cluster":  {target{"drain.grayscale.dev", &admissionregistrationv1.WebhookClientConfig{}}, ""},
	} {
		if got := homeOf(tt.of); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

// A path opens its own handler only, to the letter, and nothing does where no path is known yet.
func TestGuard(t *testing.T) {
	reached := ""
	next := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { reached = r.URL.Path })
	ask := func(g *gate, path string) (string, int) {
		reached = ""
		w := httptest.NewRecorder()
		g.guard(next).ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader("{}")))
		return reached, w.Code
	}
	known := &gate{looked: time.Now().Add(time.Hour)} // it has just looked: it asks nobody
	known.paths.Store(&map[string]string{DrainPath + "/s3cret": DrainPath, RetirePath + "/0ther": RetirePath})
	if home, code := ask(known, DrainPath+"/s3cret?timeout=6s"); home != DrainPath || code != http.StatusOK {
		t.Errorf("the right path leads to %q: %d", home, code)
	}
	for _, path := range []string{DrainPath, DrainPath + "/", DrainPath + "/0ther", DrainPath + "/s3cre", DrainPath + "/s3cret/", DrainPath + "/S3CRET", RetirePath + "/s3cret", "/"} {
		if home, code := ask(known, path); home != "" || code != http.StatusForbidden {
			t.Errorf("%s leads to %q: %d", path, home, code)
		}
	}
	if home, code := ask(&gate{looked: time.Now().Add(time.Hour)}, DrainPath); home != "" || code != http.StatusForbidden {
		t.Errorf("before the first look %q is reached: %d", home, code)
	}
}

// busy is an API server that fails some requests for the webhook configurations.
type busy struct {
	client.Reader
	failures int
}

func (b *busy) Get(ctx context.Context, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	if b.failures--; b.failures >= 0 {
		return errors.New("too busy")
	}
	if c, ok := into.(*admissionregistrationv1.MutatingWebhookConfiguration); ok {
		c.Webhooks = []admissionregistrationv1.MutatingWebhook{{Name: "mutate.grayscale.dev", ClientConfig: *to("", MutatePath+"/s3cret").config}}
	}
	return ctx.Err()
}

// A look that fails tells nothing about a path: the API server's question waits for the next one, and so do forged ones, which are
// refused then. Who cannot wait is told that it was not for its path, and takes nobody's look away.
func TestGuardWaitsForALookThatSucceeds(t *testing.T) {
	ask := func(ctx context.Context, g *gate, path string) int {
		w := httptest.NewRecorder()
		next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
		g.guard(next).ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodPost, path, strings.NewReader("{}")))
		return w.Code
	}
	for path, want := range map[string]int{MutatePath + "/s3cret": http.StatusOK, MutatePath + "/forged": http.StatusForbidden} {
		if code := ask(t.Context(), &gate{reader: &busy{failures: 2}}, path); code != want {
			t.Errorf("%s is answered with %d after looks that failed, want %d", path, code, want)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	g := &gate{reader: &busy{failures: 1}}
	if code := ask(gone, g, MutatePath+"/s3cret"); code != http.StatusServiceUnavailable {
		t.Errorf("who did not wait is answered with %d", code)
	}
	if code := ask(gone, &gate{reader: &busy{}}, MutatePath+"/s3cret"); code != http.StatusOK {
		t.Errorf("a look that needs no waiting is answered with %d", code)
	}
}

// One address has its share of connections, and gets a place back with each that ends; another one's share is its own.
func TestSharedListener(t *testing.T) {
	l := &sharedListener{open: map[string]int{}}
	for n := range maxConnections {
		if !l.take("10.0.0.1") {
			t.Fatalf("connection %d is hung up on", n)
		}
	}
	if l.take("10.0.0.1") {
		t.Error("an address has more than its share")
	}
	if !l.take("10.0.0.2") {
		t.Error("another address has no share")
	}
	conn := &sharedConn{Conn: &net.TCPConn{}, give: func() { l.give("10.0.0.1") }}
	_ = conn.Close() // of a connection that never was
	if !l.take("10.0.0.1") {
		t.Error("a place is not given back")
	}
	for range maxConnections {
		l.give("10.0.0.1")
	}
	l.give("10.0.0.2")
	if len(l.open) > 0 {
		t.Errorf("addresses without connections are remembered: %v", l.open)
	}
}

// Bodies wait for room, and one that gets none in time is refused; one of unknown size counts as the largest.
func TestBounded(t *testing.T) {
	room := semaphore.NewWeighted(maxBody)
	served := 0
	handler := bounded(room, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ }))
	ask := func(body io.Reader) int {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", body))
		return w.Code
	}
	if !room.TryAcquire(maxBody - 2) {
		t.Fatal("there is no room at first")
	}
	if code := ask(strings.NewReader("{}")); code != http.StatusOK || served != 1 {
		t.Errorf("what fits is answered with %d", code)
	}
	if code := ask(io.MultiReader(strings.NewReader("{}"))); code != http.StatusServiceUnavailable || served != 1 {
		t.Errorf("a body of unknown size is answered with %d", code)
	}
	room.Release(maxBody - 2)
	if code := ask(io.MultiReader(strings.NewReader("{}"))); code != http.StatusOK || served != 2 {
		t.Errorf("with all the room it is answered with %d", code)
	}
}
