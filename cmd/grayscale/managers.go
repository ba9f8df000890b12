package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"

	"grayscale.dev/grayscale/annotator"
	"grayscale.dev/grayscale/webhook"
	"grayscale.dev/grayscale/webhook/certs"
)

// The process has two managers, because its two halves end at different times. The leader manager reconciles. It ends
// at SIGTERM, so that the next replica leads at once. The server manager answers the API server. It ends later.

// graceLimit is how long each manager waits for unfinished work when it ends. The longest answer, about uninstalling
// grayscale, takes nine seconds.
const graceLimit = 10 * time.Second

// newServerManager makes the manager of what every replica does: caches, webhook, certificate, probes and metrics.
func newServerManager(config *rest.Config, certificate certs.Certificate, o options) (manager.Manager, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, networkingv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	address := func(port int) string { return net.JoinHostPort(o.bind, strconv.Itoa(port)) }
	metrics := server.Options{BindAddress: address(o.metricsPort)}
	if o.metricsPort == 0 {
		metrics.BindAddress = none
	}
	grace := graceLimit
	return manager.New(config, manager.Options{
		Scheme:                  scheme,
		Metrics:                 metrics,
		HealthProbeBindAddress:  address(o.healthPort),
		PprofBindAddress:        o.pprofAddress(),
		GracefulShutdownTimeout: &grace,
		WebhookServer: webhook.NewServer(ctrlwebhook.Options{Host: o.bind, Port: o.webhookPort,
			TLSOpts: []func(*tls.Config){certificate.TLS}}, configuration),
	})
}

// pprofAddress is where profiles are served. Without a port it is empty, which controller-runtime takes for nowhere.
// Profiles show what is in memory, so they are served inside the Pod only. kubectl port-forward reaches them.
func (o *options) pprofAddress() string {
	if o.pprofPort == 0 {
		return ""
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(o.pprofPort))
}

// none is the address with which controller-runtime does not listen.
const none = "0"

// newLeaderManager makes the manager of what only the leader does.
func newLeaderManager(config *rest.Config, servers manager.Manager, o options) (manager.Manager, error) {
	grace := graceLimit
	mapper := func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return servers.GetRESTMapper(), nil }
	options := manager.Options{
		Scheme:                        servers.GetScheme(),
		MapperProvider:                mapper,
		Metrics:                       server.Options{BindAddress: none},
		HealthProbeBindAddress:        none,
		GracefulShutdownTimeout:       &grace,
		LeaderElection:                o.elect,
		LeaderElectionID:              leaseName, // only names it in metrics: the lock below is the Lease itself
		LeaderElectionReleaseOnCancel: true,
	}
	if o.elect {
		lock, err := annotator.NewLease(config, o.namespace, leaseName)
		if err != nil {
			return nil, err
		}
		options.LeaderElectionResourceLockInterface = lock
	}
	return manager.New(config, options)
}

// leaseName is the name of the Lease of the leader election.
const leaseName = "grayscale"

// serve runs both managers until ctx ends or one of them fails, for example because it lost the lease. Then this
// replica is no longer ready, and releases the lease at once. The webhook answers for another delay, because the API
// server calls this replica until it has learned that it is ending. No answer is cut off.
func serve(ctx context.Context, leader, servers manager.Manager, delay time.Duration) error {
	group, ctx := errgroup.WithContext(ctx)
	err := servers.AddReadyzCheck("stays", func(*http.Request) error {
		if ctx.Err() != nil {
			return errEnds
		}
		return nil
	})
	if err != nil {
		return err
	}
	answering, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group.Go(func() error { return leader.Start(ctx) })
	group.Go(func() error { return servers.Start(answering) })
	group.Go(func() error {
		<-ctx.Done()
		time.Sleep(delay)
		stop()
		return nil
	})
	return group.Wait()
}

// errEnds fails the readiness probe while this replica ends.
var errEnds = errors.New("this replica is about to end")
