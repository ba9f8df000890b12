// Command grayscale is the webhook and the controller in one process. It decides nothing: it wires.
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap/zapcore"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"

	"grayscale.dev/grayscale/annotator"
	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/webhook"
)

// version is set by the linker (-X main.version=...); what the Go tool knows stands in where it is not.
var version string

// configuration is the name of both webhook configurations.
const configuration = "grayscale"

// options are the command line.
type options struct {
	bind                                 string
	webhookPort, metricsPort, healthPort int
	pprofPort                            int
	elect                                bool
	settings                             routing.Settings
	service, namespace                   string
	certificates                         string // directory with certificates that somebody else makes
	lifetime                             time.Duration
	logLevel                             zapcore.Level
}

func main() {
	var o options
	root := &cobra.Command{
		Use:          "grayscale",
		Short:        "Releases plain Deployments by annotations, through Istio: webhook and controller",
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := zap.New(zap.Level(o.logLevel)) // JSON lines on standard error
			ctrl.SetLogger(log)
			klog.SetLogger(log)
			return run(cmd.Context(), o)
		},
	}
	o.addTo(root)
	root.AddCommand(&cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) { cmd.Println(build()) }})
	root.SetOut(os.Stdout)
	root.CompletionOptions.DisableDefaultCmd = true
	if err := root.ExecuteContext(ctrl.SetupSignalHandler()); err != nil {
		os.Exit(1) // cobra has printed it
	}
}

func (o *options) addTo(cmd *cobra.Command) {
	f := cmd.Flags()
	f.AddGoFlagSet(flag.CommandLine) // --kubeconfig, of controller-runtime
	f.TextVar(&o.logLevel, "log-level", zapcore.InfoLevel, "debug, info, warn or error")
	f.StringVar(&o.bind, "bind-address", "", "IP address to listen on (default all)")
	f.IntVar(&o.webhookPort, "webhook-port", 9443, "port of the webhook")
	f.IntVar(&o.metricsPort, "metrics-port", 8080, "port of /metrics; 0 serves none")
	f.IntVar(&o.healthPort, "health-port", 8081, "port of /healthz and /readyz")
	f.IntVar(&o.pprofPort, "pprof-port", 0, "port of /debug/pprof, on the loopback interface alone; 0 serves none")
	f.BoolVar(&o.elect, "leader-elect", false, "let one replica at a time be the controller; the webhook answers in all of them")
	f.DurationVar(&o.settings.Settle, "settle", 2*time.Second,
		"how long a write is given to reach every Envoy before the next one may depend on it; has to outlast istiod's debounce")
	f.StringVar(&o.settings.ClusterDomain, "cluster-domain", "cluster.local", "DNS suffix of Services")
	f.StringVar(&o.settings.RootNamespace, "root-namespace", "istio-system", "Istio's root namespace")
	f.StringVar(&o.service, "service", "grayscale-webhook", "Service in front of the webhook")
	f.StringVar(&o.certificates, "certificate-dir", "",
		"directory with tls.crt and tls.key, of which somebody else takes care; empty lets grayscale make, share and rotate them")
	f.DurationVar(&o.lifetime, "certificate-lifetime", webhook.DefaultLifetime,
		"how long a certificate that grayscale makes is valid; it is replaced after a quarter of that")
	f.StringVar(&o.namespace, "namespace", ownNamespace(), "namespace that grayscale runs in")
}

// ownNamespace is where the Pod runs, by the downward API.
func ownNamespace() string {
	if namespace := os.Getenv("POD_NAMESPACE"); namespace != "" {
		return namespace
	}
	return "grayscale-system"
}

// build names what this binary was built from.
func build() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return info.Main.Version + " " + s.Value
		}
	}
	return info.Main.Version
}

func run(ctx context.Context, o options) error {
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	config.QPS = -1 // the API server's own fairness decides who waits
	config.UserAgent = "grayscale/" + build()
	outages := &annotator.Outages{}
	config.Wrap(outages.Wrap)
	certificate, err := o.certificate()
	if err != nil {
		return err
	}
	mgr, err := newManager(config, certificate, o)
	if err != nil {
		return err
	}
	controller, err := annotator.Setup(mgr, annotator.Options{Settings: o.settings, Configuration: configuration, Outages: outages})
	if err != nil {
		return err
	}
	if err := webhook.Setup(mgr, certificate, controller); err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("webhook", certificate.Ready); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// pprofAddress is where profiles are served; empty, controller-runtime's word for nowhere, unless a port was given. They tell
// what is in memory, so that whoever wants them has to come into the Pod: kubectl port-forward does.
func (o *options) pprofAddress() string {
	if o.pprofPort == 0 {
		return ""
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(o.pprofPort))
}

// certificate is what the webhook serves with.
func (o options) certificate() (webhook.Certificate, error) {
	if o.certificates != "" {
		return webhook.NewMounted(o.certificates), nil
	}
	if o.lifetime < webhook.ShortestLifetime {
		return nil, fmt.Errorf("--certificate-lifetime %s is too short: at least %s", o.lifetime, webhook.ShortestLifetime)
	}
	return webhook.NewSelfManaged(webhook.CertificateOptions{Namespace: o.namespace, Service: o.service,
		Secret: "grayscale-webhook-certificate", Configuration: configuration, Lifetime: o.lifetime}), nil
}

func newManager(config *rest.Config, certificate webhook.Certificate, o options) (manager.Manager, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, networkingv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	address := func(port int) string { return net.JoinHostPort(o.bind, strconv.Itoa(port)) }
	metrics := server.Options{BindAddress: address(o.metricsPort)}
	if o.metricsPort == 0 {
		metrics.BindAddress = "0" // controller-runtime's word for none
	}
	return ctrl.NewManager(config, manager.Options{
		Scheme:                        scheme,
		Cache:                         annotator.CacheOptions(),
		Metrics:                       metrics,
		HealthProbeBindAddress:        address(o.healthPort),
		PprofBindAddress:              o.pprofAddress(),
		LeaderElection:                o.elect,
		LeaderElectionID:              "grayscale",
		LeaderElectionNamespace:       o.namespace,
		LeaderElectionReleaseOnCancel: true, // a replica that ends in good order is followed at once
		WebhookServer: ctrlwebhook.NewServer(ctrlwebhook.Options{Host: o.bind, Port: o.webhookPort,
			TLSOpts: []func(*tls.Config){certificate.TLS}}),
	})
}
