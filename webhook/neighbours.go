package webhook

import (
	"context"
	"fmt"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"grayscale.dev/grayscale/routing/cluster"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
)

// patience bounds all reading for one answer. It reads from memory; only a cache that is still filling makes it wait, and
// the API server gives up after the webhook configurations' timeoutSeconds: this must end sooner.
const patience = time.Second

// neighbours reads what is known around a Deployment, from the caches that the controller keeps anyway.
type neighbours struct{ reader client.Reader }

// around lists the Services of the namespace, and its Deployments but for the one at the door.
func (n neighbours) around(ctx context.Context, namespace, door string) ([]release.Service, []release.Deployment, error) {
	var services corev1.ServiceList
	if err := n.reader.List(ctx, &services, client.InNamespace(namespace)); err != nil {
		return nil, nil, fmt.Errorf("Services of namespace %s: %w", namespace, err)
	}
	var deployments appsv1.DeploymentList
	if err := n.reader.List(ctx, &deployments, client.InNamespace(namespace)); err != nil {
		return nil, nil, fmt.Errorf("Deployments of namespace %s: %w", namespace, err)
	}
	behind := make([]release.Service, len(services.Items))
	for i := range services.Items {
		behind[i] = cluster.Service(&services.Items[i])
	}
	others := make([]release.Deployment, 0, len(deployments.Items))
	for i := range deployments.Items {
		if d := &deployments.Items[i]; d.Name != door {
			others = append(others, cluster.Deployment(d))
		}
	}
	return behind, others, nil
}

// pinned reads what the Service's VirtualService of ours remembers; nil where there is none, or no Istio. One whose memory
// is damaged still pins the Service: what it remembers is then nothing.
func (n neighbours) pinned(ctx context.Context, namespace, service string) (*release.State, error) {
	vs := &networkingv1.VirtualService{}
	key := types.NamespacedName{Namespace: namespace, Name: istio.Name(service)}
	switch err := n.reader.Get(ctx, key, vs); {
	case apierrors.IsNotFound(err) || meta.IsNoMatchError(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("VirtualService %s: %w", key, err)
	case !istio.Ours(vs):
		return nil, nil
	}
	state, _ := istio.ReadState(vs)
	return &state, nil
}
