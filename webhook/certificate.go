package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// errNoCertificate is what a TLS client meets before there is a certificate that the API server trusts.
var errNoCertificate = errors.New("the webhook's certificate has not been read yet")

// Certificate is what the webhook serves with: SelfManaged, or Mounted.
type Certificate interface {
	// TLS makes a server serve with the certificate that is current at each handshake, over TLS 1.2 or later.
	TLS(config *tls.Config)
	// Ready fails while there is no certificate to serve with: until the caches have synced and the API server trusts it.
	Ready(*http.Request) error
	// addTo has the manager look after the certificate once its caches have synced: no question is answered before, for
	// there is no certificate to answer with.
	addTo(mgr manager.Manager) error
}

// served is the certificate that is current; none at first.
type served struct {
	now     func() time.Time
	current atomic.Pointer[tls.Certificate]
}

// TLS is Certificate's.
func (s *served) TLS(config *tls.Config) {
	config.MinVersion = tls.VersionTLS12
	config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if pair := s.current.Load(); pair != nil {
			return pair, nil
		}
		return nil, errNoCertificate
	}
}

// serve lets a certificate be served from now on.
func (s *served) serve(ctx context.Context, pair *tls.Certificate) {
	s.current.Store(pair)
	expires(pair)
	ctrl.LoggerFrom(ctx).Info("serving the webhook's certificate", "serial", pair.Leaf.SerialNumber.Text(16), "expires", pair.Leaf.NotAfter)
}

// Ready is Certificate's. With a certificate that has expired the replica is of no use to the API server.
func (s *served) Ready(*http.Request) error {
	pair := s.current.Load()
	if pair == nil {
		return errNoCertificate
	}
	if s.now().After(pair.Leaf.NotAfter) {
		return errors.New("the webhook's certificate has expired")
	}
	return nil
}
