package webhook

import (
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
		Help: "Answers about annotated Deployments: accepted, accepted with a warning, refused, or accepted " +
			"unchecked because what is around the Deployment could not be read."},
		[]string{"outcome"})
	register = sync.OnceFunc(func() { metrics.Registry.MustRegister(Collectors()...) })
)

// Collectors are the handlers' metrics, with all series that there can be. Setup registers them with
// controller-runtime's registry.
func Collectors() []prometheus.Collector {
	for _, outcome := range []string{outcomeAccepted, outcomeWarned, outcomeRefused, outcomeUnchecked} {
		admissions.WithLabelValues(outcome)
	}
	return []prometheus.Collector{admissions}
}
