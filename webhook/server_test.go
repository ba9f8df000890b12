package webhook

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"
)

// configured is an API server whose validating webhook configuration has one webhook, with this path.
type configured string

func (c configured) Get(_ context.Context, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	if configuration, ok := into.(*admissionregistrationv1.ValidatingWebhookConfiguration); ok {
		path := string(c)
		configuration.Webhooks = []admissionregistrationv1.ValidatingWebhook{{ClientConfig: admissionregistrationv1.WebhookClientConfig{
			Service: &admissionregistrationv1.ServiceReference{Path: &path}}}}
	}
	return nil
}

func (configured) List(context.Context, client.ObjectList, ...client.ListOption) error { return nil }

// A request that has arrived when the replica ends is answered: the answer about a deletion waits until its traffic has
// moved.
func TestTheEndCutsNoAnswerShort(t *testing.T) {
	pair := httptest.NewTLSServer(nil)
	defer pair.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().(*net.TCPAddr)
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	begun, mux := make(chan struct{}), http.NewServeMux()
	mux.HandleFunc(DrainPath, func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		select {
		case <-r.Context().Done():
			http.Error(w, "cut short", http.StatusInternalServerError)
		case <-time.After(200 * time.Millisecond):
		}
	})
	s := NewServer(ctrlwebhook.Options{Host: address.IP.String(), Port: address.Port, WebhookMux: mux,
		TLSOpts: []func(*tls.Config){func(c *tls.Config) { c.Certificates = pair.TLS.Certificates }}}, "grayscale")
	s.auth.Bind(configured(DrainPath+"/s3cret"), nil)
	ctx, end := context.WithCancel(t.Context())
	defer end()
	ended := make(chan error, 1)
	go func() { ended <- s.Start(ctx) }()
	go func() {
		<-begun
		end()
	}()
	url := "https://" + address.String() + DrainPath + "/s3cret"
	for limit := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		answer, err := pair.Client().Post(url, "application/json", strings.NewReader("{}"))
		if err != nil && time.Now().Before(limit) {
			continue // the server does not listen yet
		}
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Errorf("answered with %s", answer.Status)
		}
		break
	}
	if err := <-ended; err != nil {
		t.Errorf("the server ended with: %v", err)
	}
}

// The API server closes idle connections before the webhook does. Otherwise a request could be on its way when the
// webhook closes the connection.
func TestAnIdleConnectionIsClosedByTheAPIServer(t *testing.T) {
	if kept := utilnet.SetTransportDefaults(&http.Transport{}).IdleConnTimeout; kept == 0 || idleLimit < kept+10*time.Second {
		t.Errorf("the API server keeps a connection for %s, the webhook for %s", kept, idleLimit)
	}
}

// Bodies wait for memory, and are refused if there is none in time. A body of unknown size counts as the largest.
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
