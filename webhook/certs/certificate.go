// Package certs provides the webhook's serving certificate. SelfManaged issues one, writes its CA to the webhook
// configurations, and rotates it. Mounted serves files that are maintained elsewhere. Every replica serves, whether it
// leads or not.
package certs

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

// errNoCertificate fails handshakes until there is a certificate that the API server trusts.
var errNoCertificate = errors.New("the webhook's certificate has not been read yet")

// Certificate is what the webhook serves with: SelfManaged, or Mounted.
type Certificate interface {
	// TLS makes a server use the certificate that is current at each handshake, over TLS 1.2 or later.
	TLS(config *tls.Config)
	// Ready is a readiness check. It fails until there is a certificate that the API server trusts, and again once the
	// certificate has expired.
	Ready(*http.Request) error
	// AddTo makes the manager maintain the certificate. Handshakes fail until the manager has started that.
	AddTo(mgr manager.Manager) error
}

// served holds the current certificate; there is none at first.
type served struct {
	now     func() time.Time
	current atomic.Pointer[tls.Certificate]
}

// TLS implements Certificate.
func (s *served) TLS(config *tls.Config) {
	config.MinVersion = tls.VersionTLS12
	config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if pair := s.current.Load(); pair != nil {
			return pair, nil
		}
		return nil, errNoCertificate
	}
}

// serve makes a certificate the current one.
func (s *served) serve(ctx context.Context, pair *tls.Certificate) {
	s.current.Store(pair)
	observeExpiry(pair)
	ctrl.LoggerFrom(ctx).Info("serving the webhook's certificate",
		"serial", pair.Leaf.SerialNumber.Text(16), "expires", pair.Leaf.NotAfter)
}

// Ready implements Certificate.
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
