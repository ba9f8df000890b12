package certs

import (
	"crypto/tls"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var (
	// expiry has no labels. It is a vector because a vector has no series until there is a certificate.
	expiry = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "grayscale_certificate_expiry_timestamp_seconds",
		Help: "When the certificate that the webhook serves with expires, in seconds since 1970."}, nil)

	register = sync.OnceFunc(func() { metrics.Registry.MustRegister(Collectors()...) })
)

// Collectors are this package's metrics. AddTo registers them with controller-runtime's registry.
func Collectors() []prometheus.Collector { return []prometheus.Collector{expiry} }

func observeExpiry(pair *tls.Certificate) {
	if pair.Leaf != nil {
		expiry.WithLabelValues().Set(float64(pair.Leaf.NotAfter.Unix()))
	}
}
