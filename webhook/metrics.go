package webhook

import (
	"crypto/tls"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// Values of the label outcome.
const (
	outcomeAccepted  = "accepted"
	outcomeWarned    = "warned"
	outcomeRefused   = "refused"
	outcomeUnchecked = "unchecked"
)

var (
	admissions = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "grayscale_admissions_total",
		Help: "Answers about annotated Deployments: accepted, accepted with a warning, refused, or accepted unchecked because what is around the Deployment could not be read."},
		[]string{"outcome"})
	// expiry has no labels; it is a vector because that has no series until the certificate is known.
	expiry = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "grayscale_certificate_expiry_timestamp_seconds",
		Help: "When the certificate that the webhook serves with expires, in seconds since 1970."}, nil)

	register = sync.OnceFunc(func() { metrics.Registry.MustRegister(Collectors()...) })
)

// Collectors are the webhook's metrics, with every series that they can have but that of a certificate that is not known
// yet. Setup registers them with controller-runtime's registry.
func Collectors() []prometheus.Collector {
	for _, outcome := range []string{outcomeAccepted, outcomeWarned, outcomeRefused, outcomeUnchecked} {
		admissions.WithLabelValues(outcome)
	}
	return []prometheus.Collector{admissions, expiry}
}

// expires notes until when the certificate that is served is valid.
func expires(pair *tls.Certificate) {
	if pair.Leaf != nil {
		expiry.WithLabelValues().Set(float64(pair.Leaf.NotAfter.Unix()))
	}
}
