package pods

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// options are the flags of `lab pods`.
type options struct {
	kubeconfig string
	dir        string
	octet      int
	listen     string
	podGrace   time.Duration
	// metrics is where the API server finds metrics.k8s.io; certificate and key are of its TLS.
	metrics, certificate, key string
}

// Command is the hidden `lab pods`: it runs every Pod of one lab until SIGINT or SIGTERM. Once --listen answers, every
// Pod that existed is known.
//
// Its user needs: nodes create; pods list, watch, delete; pods/binding create; pods/status patch; services list, watch;
// serviceaccounts/token create.
func Command() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:    "pods",
		Short:  "Run the Pods of a lab without containers",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return run(ctx, o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "how to reach the API server")
	flags.StringVar(&o.dir, "dir", "", "the lab's directory: logs, private files of Pods, grayscale.path")
	flags.IntVar(&o.octet, "range", 0, "X: Pods have addresses 10.X.a.b and listen on 127.X.a.b (1-255)")
	flags.StringVar(&o.listen, "listen", "", "address of the counters API: GET /counts, POST /reset, GET /healthz")
	flags.DurationVar(&o.podGrace, "pod-grace", 3*time.Second, "how long a deleted echo Pod goes on serving")
	flags.StringVar(&o.metrics, "metrics", "", "address of the metrics API, metrics.k8s.io")
	flags.StringVar(&o.certificate, "tls-cert-file", "", "certificate of the metrics API")
	flags.StringVar(&o.key, "tls-private-key-file", "", "its private key")
	for _, name := range []string{"kubeconfig", "dir", "range", "listen", "metrics", "tls-cert-file", "tls-private-key-file"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // a flag of this function is misspelt in this function
		}
	}
	return cmd
}

func run(ctx context.Context, o options) error {
	if o.octet < 1 || o.octet > 255 {
		return fmt.Errorf("--range %d is not allowed: choose 1 to 255", o.octet)
	}
	cluster, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return fmt.Errorf("--kubeconfig %s: %w", o.kubeconfig, err)
	}
	cluster.QPS = -1 // a lab's runner must not be slower than its API server
	client, err := kubernetes.NewForConfig(cluster)
	if err != nil {
		return fmt.Errorf("--kubeconfig %s: %w", o.kubeconfig, err)
	}
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return fmt.Errorf("--listen %s: %w: choose a free port", o.listen, err)
	}
	metrics, err := net.Listen("tcp", o.metrics)
	if err != nil {
		return fmt.Errorf("--metrics %s: %w: choose a free port", o.metrics, err)
	}
	r := newRunner(client, cluster, o.dir, byte(o.octet), o.podGrace)
	counts := &http.Server{Handler: r.counters.handler(), ReadHeaderTimeout: requestTimeout}
	usage := &http.Server{Handler: r.metricsAPI(), ReadHeaderTimeout: requestTimeout}
	defer func() { _, _ = counts.Close(), usage.Close() }() // they end with the process either way
	return r.run(ctx, func() {
		go ended("counters API", func() error { return counts.Serve(listener) })
		go ended("metrics API", func() error { return usage.ServeTLS(metrics, o.certificate, o.key) })
	})
}

// ended tells that a server has ended before the lab.
func ended(name string, serve func() error) {
	if err := serve(); !errors.Is(err, http.ErrServerClosed) {
		slog.Error(name+" ended", "error", err)
	}
}
