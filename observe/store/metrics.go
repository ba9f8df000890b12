package store

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var (
	istioWatched = prometheus.NewGauge(prometheus.GaugeOpts{Name: "grayscale_istio_watched",
		Help: "1 while Istio's definitions are served and its objects are watched, else 0."})

	registerMetrics = sync.OnceFunc(func() { metrics.Registry.MustRegister(Collectors()...) })
)

// Collectors are the store's metrics. New registers them with controller-runtime's registry.
func Collectors() []prometheus.Collector { return []prometheus.Collector{istioWatched} }
