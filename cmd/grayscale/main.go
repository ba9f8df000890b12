// Command grayscale is the webhook and the controller in one process. It decides nothing: it wires.
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"

	"go.uber.org/zap/zapcore"

	"grayscale.dev/grayscale/annotator"
	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/webhook"
)

// version is set by the linker.
var version = "dev"

// options are the command line.
type options struct {
	bind                              string
	webhookPort, metricsPort, healthz int
	elect                             bool
	settings                          routing.Settings
	service, namespace                string
	logLevel                          zapcore.Level
}

func parse() options {
	var o options
	flag.StringVar(&o.bind, "bind-address", "", "IP address to listen on; empty: all")
	flag.IntVar(&o.webhookPort, "webhook-port", 9443, "port of the webhook")
	flag.IntVar(&o.metricsPort, "metrics-port", 8080, "port of the metrics")
	flag.IntVar(&o.healthz, "health-port", 8081, "port of /healthz and /readyz")
	flag.BoolVar(&o.elect, "leader-elect", false, "let one replica at a time be the controller (the webhook answers in all)")
	flag.DurationVar(&o.settings.Settle, "settle", 2*time.Second,
		"time that a write is given to reach every Envoy before the next may depend on it; must outlast istiod's debounce")
	flag.StringVar(&o.settings.ClusterDomain, "cluster-domain", "cluster.local", "DNS suffix of Services")
	flag.StringVar(&o.settings.RootNamespace, "root-namespace", "istio-system", "Istio's root namespace")
	flag.StringVar(&o.service, "service", "grayscale-webhook", "Service in front of the webhook")
	flag.StringVar(&o.namespace, "namespace", namespace(), "namespace that grayscale runs in")
	flag.TextVar(&o.logLevel, "log-level", zapcore.InfoLevel, "debug, info, warn or error")
	flag.Parse()
	return o
}

// namespace is where the Pod runs, by the downward API.
func namespace() string {
	if ns := os.Getenv("POD_NAMESPACE"); ns != "" {
		return ns
	}
	return "grayscale-system"
}

func main() {
	o := parse()
	ctrl.SetLogger(zap.New(zap.Level(o.logLevel)))
	if err := run(ctrl.SetupSignalHandler(), o); err != nil {
		fmt.Fprintln(os.Stderr, "grayscale:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	config.QPS = -1 // the API server's own fairness limits, per-client limits only add latency
	config.UserAgent = "grayscale/" + version
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, networkingv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	certificate, err := serving(ctx, config, scheme, o)
	if err != nil {
		return err
	}
	mgr, err := newManager(config, scheme, certificate, o)
	if err != nil {
		return err
	}
	webhook.Setup(mgr)
	if err := annotator.Setup(mgr, annotator.Options{Settings: o.settings}); err != nil {
		return err
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("webhook", mgr.GetWebhookServer().StartedChecker()); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// serving gets the webhook's certificate before anything else: without it the API server would not call.
func serving(ctx context.Context, config *rest.Config, scheme *runtime.Scheme, o options) (tls.Certificate, error) {
	direct, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return tls.Certificate{}, err
	}
	return webhook.Certificate{Client: direct, Namespace: o.namespace, Service: o.service, Now: time.Now}.Ensure(ctx)
}

func newManager(config *rest.Config, scheme *runtime.Scheme, certificate tls.Certificate, o options) (manager.Manager, error) {
	address := func(port int) string { return net.JoinHostPort(o.bind, strconv.Itoa(port)) }
	return ctrl.NewManager(config, manager.Options{
		Scheme: scheme, Cache: annotator.CacheOptions(),
		Metrics:                server.Options{BindAddress: address(o.metricsPort)},
		HealthProbeBindAddress: address(o.healthz),
		LeaderElection:         o.elect, LeaderElectionID: "grayscale", LeaderElectionNamespace: o.namespace,
		LeaderElectionReleaseOnCancel: true,
		WebhookServer: ctrlwebhook.NewServer(ctrlwebhook.Options{Host: o.bind, Port: o.webhookPort, TLSOpts: []func(*tls.Config){func(c *tls.Config) {
			c.MinVersion = tls.VersionTLS12
			c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &certificate, nil }
		}}}),
	})
}
