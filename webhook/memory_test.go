package webhook

import (
	"context"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/cluster"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

var defaults = routing.Settings{ClusterDomain: "cluster.local", RootNamespace: "istio-system"}

// memory is a Cluster with what a test puts into it. Where err is set, all reads fail with it.
type memory struct {
	services     []corev1.Service
	deployments  []appsv1.Deployment
	routes       []*networkingv1.VirtualService
	istioMissing bool
	err          error // of all reads
	factsErr     error // of reading the facts of a Service
}

func (m memory) Services(context.Context, string, release.Deployment) ([]release.Service, error) {
	out := make([]release.Service, len(m.services))
	for i := range m.services {
		out[i] = cluster.Service(&m.services[i])
	}
	return out, m.err
}

func (m memory) Facts(_ context.Context, namespace, service string) (routing.Facts, error) {
	f := routing.Facts{Service: release.Service{Namespace: namespace, Name: service, Missing: true}}
	known := istio.Mesh{Missing: m.istioMissing}
	for i := range m.services {
		if m.services[i].Name == service {
			f.Service = cluster.Service(&m.services[i])
		}
	}
	for i := range m.deployments {
		if d := cluster.Deployment(&m.deployments[i]); f.Service.Selects(&d) {
			f.Deployments = append(f.Deployments, d)
		}
	}
	for _, vs := range m.routes {
		switch {
		case m.istioMissing:
		case vs.Namespace == namespace && vs.Name == mesh.Name(service):
			known.VirtualService = vs.DeepCopy()
		default:
			known.OtherVirtualServices = append(known.OtherVirtualServices, vs.DeepCopy())
		}
	}
	f.Mesh = known
	return f, m.factsErr
}
