// Package store keeps what a process has to know of the cluster, and implements observe.Reader from memory.
package store

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	ctrlcluster "sigs.k8s.io/controller-runtime/pkg/cluster"

	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/release"
)

// Store keeps all Deployments, pods and Services, and Istio's objects and the Gateway API's routes while the API server
// serves them. It is a manager's Runnable, and runs in every replica, whether that leads or not.
type Store struct {
	domain string
	// namespaces are those that grayscale is confined to; one without a name is the whole cluster.
	namespaces []string

	deployments *objects[appsv1.Deployment]
	pods        *objects[observe.Pod]
	services    *objects[corev1.Service]
	istio       atomic.Pointer[istioObjects] // nil while the API server does not serve Istio's kinds
	meshRoutes  meshRoutes                   // of the Gateway API

	core        []source // of Kubernetes' own kinds
	istioClient rest.Interface
	crds        *crdWatcher
	// seen is how far the watch of a namespace's Deployments has come.
	seen func(namespace string) string
	// affected is told of Services to look at.
	affected atomic.Pointer[func([]types.NamespacedName)]
}

// New is a store of the given namespaces; none stand for the whole cluster. The cluster's scheme has to know Istio's
// kinds. domain is the DNS suffix of its Services, which completes the short names in Istio's objects.
func New(from ctrlcluster.Cluster, namespaces []string, domain string) (*Store, error) {
	registerMetrics()
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	s := empty(domain)
	s.namespaces = slices.Compact(slices.Sorted(slices.Values(namespaces)))
	apps, err := clientOf(from, appsv1.SchemeGroupVersion.WithKind("Deployment"))
	if err != nil {
		return nil, err
	}
	core, err := clientOf(from, corev1.SchemeGroupVersion.WithKind("Service"))
	if err != nil {
		return nil, err
	}
	if s.istioClient, err = clientOf(from, networkingv1.SchemeGroupVersion.WithKind("VirtualService")); err != nil {
		return nil, err
	}
	s.meshRoutes.client = meshClients(from)
	if s.crds, err = newCRDWatcher(s, from); err != nil {
		return nil, err
	}
	s.watchCore(apps, core)
	return s, nil
}

func empty(domain string) *Store {
	s := &Store{domain: domain, seen: func(string) string { return "" },
		meshRoutes: meshRoutes{served: map[string]servedKind{}},
		deployments: newObjects("deployments", protobuf[appsv1.Deployment](), observe.DeploymentsByLabel,
			observe.ParticipantsByLabel, observe.DeploymentsByService, observe.Participants),
		pods:     newObjects("pods", codec[observe.Pod]{}, observe.PodsByLabel, observe.PodsByOwner),
		services: newObjects("services", protobuf[corev1.Service](), observe.ServicesBySelector)}
	follow(s, s.deployments, observe.SameDeployment, func(d *appsv1.Deployment) []types.NamespacedName {
		return observe.AffectedByDeployment(s, d)
	})
	follow(s, s.services, observe.SameService, func(o *corev1.Service) []types.NamespacedName {
		return observe.AffectedByService(s, o)
	})
	follow(s, s.pods, observe.SamePod, func(p *observe.Pod) []types.NamespacedName { return observe.AffectedByPod(s, p) })
	return s
}

func clientOf(from ctrlcluster.Cluster, kind schema.GroupVersionKind) (rest.Interface, error) {
	codecs := serializer.NewCodecFactory(from.GetScheme())
	c, err := apiutil.RESTClientForGVK(kind, false, false, from.GetConfig(), codecs, from.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("a client of %s: %w", kind.GroupVersion(), err)
	}
	return c, nil
}

// watchCore makes the sinks of Kubernetes' own kinds.
func (s *Store) watchCore(apps, core rest.Interface) {
	versions := map[string]func() string{}
	for _, namespace := range s.namespaces {
		deployments := newSink(s.deployments, trimDeployment, apps, namespace)
		versions[namespace] = deployments.reflector.LastSyncResourceVersion
		s.core = append(s.core, deployments, newSink(s.services, trimService, core, namespace),
			newSink(s.pods, observe.PodOf, core, namespace))
	}
	s.seen = func(namespace string) string {
		for _, name := range []string{metav1.NamespaceAll, namespace} {
			if version, ok := versions[name]; ok {
				return version()
			}
		}
		return ""
	}
}

// Start watches until ctx ends.
func (s *Store) Start(ctx context.Context) error {
	var running sync.WaitGroup
	running.Go(func() { run(ctx, s.core) })
	running.Go(func() { s.crds.run(ctx) })
	running.Wait()
	return nil
}

// NeedLeaderElection has a manager start the store of every replica.
func (s *Store) NeedLeaderElection() bool { return false }

// run watches until ctx ends.
func run(ctx context.Context, sources []source) {
	var running sync.WaitGroup
	for _, one := range sources {
		running.Go(func() { one.run(ctx) })
	}
	running.Wait()
}

// synced returns once everything that there was at the start is there. It fails only where ctx ends.
func synced(ctx context.Context, sources []source) error {
	for _, one := range sources {
		if err := one.wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// WaitForSync returns once everything is there, and it is known whether the API server serves Istio's kinds: that must
// be known before anything is decided.
func (s *Store) WaitForSync(ctx context.Context) error {
	select {
	case <-s.crds.looked:
		return nil
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil
		}
		return fmt.Errorf("waiting for Istio's objects: %w", ctx.Err())
	}
}

// errNotSynced is the answer to a readiness probe before the store is filled.
var errNotSynced = errors.New("the store is not filled yet")

// Ready fails, as a readiness check does, until WaitForSync would return.
func (s *Store) Ready(*http.Request) error {
	if !closed(s.crds.looked) {
		return errNotSynced
	}
	return nil
}

// Confined fails for a namespace that grayscale does not look after.
func (s *Store) Confined(namespace string) error {
	if s.namespaces[0] == metav1.NamespaceAll || slices.Contains(s.namespaces, namespace) {
		return nil
	}
	return fmt.Errorf("grayscale is confined to namespaces, and %q is none of them", namespace)
}

// Services are those of a namespace that matter to a Deployment, see observe.ServicesFor. It waits for them while the
// store is being filled.
func (s *Store) Services(ctx context.Context, namespace string, d release.Deployment) ([]release.Service, error) {
	if err := errors.Join(s.Confined(namespace), synced(ctx, s.core)); err != nil {
		return nil, err
	}
	return observe.ServicesFor(s, namespace, d), nil
}

// Facts are what the controller would decide about a Service from, without times: those are known to the controller
// alone. It waits for them while the store is being filled.
func (s *Store) Facts(ctx context.Context, namespace, service string) (routing.Facts, error) {
	if err := errors.Join(s.Confined(namespace), synced(ctx, s.core)); err != nil {
		return routing.Facts{}, err
	}
	key := types.NamespacedName{Namespace: namespace, Name: service}
	return observe.GatherAlone(s, key, observe.Moment{}).Facts, nil
}
