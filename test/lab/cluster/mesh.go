package cluster

import (
	"context"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"
)

// mesh starts istiod and the two Envoys.
func (l *lab) mesh(ctx context.Context, config *rest.Config) error {
	applier, err := newApplier(config)
	if err != nil {
		return err
	}
	if err := applier.applyIstio(ctx, l.ports.host, l.ports.gateway); err != nil {
		return err
	}
	if err := l.startIstiod(); err != nil {
		return err
	}
	if err := l.await(ctx, "istiod", l.ports.url("http", l.ports.istiodHTTP)+"/ready", l.ports.url("http", l.ports.istiodMonitoring)); err != nil {
		return err
	}
	if err := l.startEnvoy("mesh-envoy", meshBootstrap(l.octet, l.ports)); err != nil {
		return err
	}
	if err := l.startEnvoy("gateway-envoy", gatewayBootstrap(l.octet, l.ports)); err != nil {
		return err
	}
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error {
		return l.awaitEnvoy(ctx, "mesh-envoy", l.ports.meshAdmin, l.ports.meshProxy, "curl -x "+l.ports.url("http", l.ports.meshProxy)+" http://SERVICE.default.svc.cluster.local/")
	})
	all.Go(func() error {
		return l.awaitEnvoy(ctx, "gateway-envoy", l.ports.gatewayAdmin, l.ports.gateway, l.ports.url("http", l.ports.gateway))
	})
	return all.Wait()
}
