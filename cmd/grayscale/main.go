// Command grayscale runs the webhook and the controller in one process. It only wires packages together.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"grayscale.dev/grayscale/annotator"
	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/observe/store"
	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/webhook"
	"grayscale.dev/grayscale/webhook/certs"
)

// version is set by the linker (-X main.version=...). Where it is empty, build uses what the Go tool recorded.
var version string

// configuration is the name of both webhook configurations.
const configuration = "grayscale"

// options are the flags of the command line.
type options struct {
	bind                                 string
	webhookPort, metricsPort, healthPort int
	pprofPort                            int
	elect                                bool
	settings                             routing.Settings
	service, namespace                   string
	namespaces                           []string
	shutdownDelay                        time.Duration
	certificates                         string // directory of a certificate that is maintained elsewhere
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
	f.AddGoFlagSet(flag.CommandLine) // controller-runtime's --kubeconfig
	f.TextVar(&o.logLevel, "log-level", zapcore.InfoLevel, "debug, info, warn or error")
	f.StringVar(&o.bind, "bind-address", "", "IP address to listen on (default all)")
	f.IntVar(&o.webhookPort, "webhook-port", 9443, "port of the webhook")
	f.IntVar(&o.metricsPort, "metrics-port", 8080, "port of /metrics; 0 serves none")
	f.IntVar(&o.healthPort, "health-port", 8081, "port of /healthz and /readyz")
	f.IntVar(&o.pprofPort, "pprof-port", 0, "port of /debug/pprof, on the loopback interface alone; 0 serves none")
	f.BoolVar(&o.elect, "leader-elect", false,
		"let one replica at a time be the controller; the webhook answers in all of them")
	f.DurationVar(&o.shutdownDelay, "shutdown-delay", 0,
		"how long the webhook answers on after SIGTERM, while the API server learns that it has to ask another replica")
	f.DurationVar(&o.settings.Settle, "settle", 2*time.Second,
		"how long a write is given to reach every Envoy before the next one may depend on it; "+
			"has to outlast istiod's debounce")
	f.StringVar(&o.settings.ClusterDomain, "cluster-domain", "cluster.local", "DNS suffix of Services")
	f.StringVar(&o.settings.RootNamespace, "root-namespace", "istio-system", "Istio's root namespace")
	f.StringVar(&o.service, "service", "grayscale-webhook", "Service in front of the webhook")
	f.StringVar(&o.certificates, "certificate-dir", "",
		"directory with tls.crt and tls.key that are maintained elsewhere; empty lets grayscale make, share and rotate them")
	f.DurationVar(&o.lifetime, "certificate-lifetime", certs.DefaultLifetime,
		"how long a certificate that grayscale makes is valid; it is replaced after a quarter of that")
	f.StringVar(&o.namespace, "namespace", ownNamespace(), "namespace that grayscale runs in")
	f.StringSliceVar(&o.namespaces, "namespaces", nil,
		"the only namespaces with releases, separated by commas (default all)")
}

// ownNamespace is the Pod's namespace, from the downward API.
func ownNamespace() string {
	if namespace := os.Getenv("POD_NAMESPACE"); namespace != "" {
		return namespace
	}
	return "grayscale-system"
}

// build is the version of this binary.
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
	if os.Getenv("GOGC") == "" { // an administrator's GOGC wins (https://pkg.go.dev/runtime#hdr-Environment_Variables)
		collectSooner()
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	config.QPS = -1 // the API server's priority and fairness limits requests
	config.UserAgent = "grayscale/" + build()
	outages := &observe.Outages{}
	config.Wrap(outages.Wrap)
	certificate, err := o.certificate()
	if err != nil {
		return err
	}
	servers, err := newServerManager(config, certificate, o)
	if err != nil {
		return err
	}
	known, err := store.New(servers, o.namespaces, o.settings.ClusterDomain)
	if err != nil {
		return fmt.Errorf("the store: %w", err)
	}
	if err := servers.Add(known); err != nil {
		return err
	}
	leader, err := newLeaderManager(config, servers, o)
	if err != nil {
		return err
	}
	// Events need the server manager: the webhook still moves traffic, and publishes Events, after the leader manager
	// ended.
	controller, err := annotator.Setup(leader, annotator.Options{Store: known, Settings: o.settings,
		Configuration: configuration, Outages: outages, Events: servers.GetEventRecorder(routing.FieldManager)})
	if err != nil {
		return err
	}
	if err := webhook.Setup(servers, controller, known, o.settings); err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	if err := certificate.AddTo(servers); err != nil {
		return fmt.Errorf("the webhook's certificate: %w", err)
	}
	err = errors.Join(servers.AddHealthzCheck("ping", healthz.Ping),
		servers.AddReadyzCheck("certificate", certificate.Ready), servers.AddReadyzCheck("caches", known.Ready))
	if err != nil {
		return err
	}
	return serve(ctx, leader, servers, o.shutdownDelay)
}

// certificate is the certificate that the webhook serves.
func (o options) certificate() (certs.Certificate, error) {
	if o.certificates != "" {
		return certs.NewMounted(o.certificates), nil
	}
	if o.lifetime < certs.ShortestLifetime {
		return nil, fmt.Errorf("--certificate-lifetime %s is too short: at least %s", o.lifetime, certs.ShortestLifetime)
	}
	return certs.NewSelfManaged(certs.Options{Namespace: o.namespace, Service: o.service,
		Secret: "grayscale-webhook-certificate", Configuration: configuration, Lifetime: o.lifetime}), nil
}
