package webhook

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"
)

// What has been asked when the replica ends is answered: a deletion's answer waits until its traffic has gone.
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
	s.gate.paths.Store(&map[string]string{DrainPath + "/s3cret": DrainPath})
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
			continue // it does not listen yet
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

// An API server lets go of an idle connection first. Otherwise a question could be under way when the connection is closed.
func TestAnIdleConnectionIsClosedByTheAPIServer(t *testing.T) {
	if kept := utilnet.SetTransportDefaults(&http.Transport{}).IdleConnTimeout; kept == 0 || idleLimit < kept+10*time.Second {
		t.Errorf("the API server keeps a connection for %s, the webhook for %s", kept, idleLimit)
	}
}
