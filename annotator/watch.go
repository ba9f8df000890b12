package annotator

import (
	"context"
	"maps"
	"slices"
	"strings"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"grayscale.dev/grayscale/routing/cluster"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
)

// mapper turns events into the Services that they may matter to. A Service without a release costs nothing.
type mapper struct{ r *reconciler }

type requests map[reconcile.Request]bool

func (q requests) add(namespace, service string) {
	q[reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: service}}] = true
}

func (q requests) list() []reconcile.Request { return slices.Collect(maps.Keys(q)) }

func (m mapper) deployment(ctx context.Context, d *appsv1.Deployment) []reconcile.Request {
	services, err := m.r.services(ctx, d.Namespace)
	if err != nil {
		return nil // only before the caches have synced; the first list comes again then
	}
	q, facts := requests{}, cluster.Deployment(d)
	if len(facts.Annotations) > 0 {
		name, _ := release.ServiceOf(d.Namespace, facts, services)
		q.add(d.Namespace, name)
	}
	m.released(ctx, q, d.Namespace, services, facts.TemplateLabels)
	return q.list()
}

// released adds the Services over the labels that have a release, or are to have one.
func (m mapper) released(ctx context.Context, q requests, namespace string, services []release.Service, labels map[string]string) {
	var wanted map[string]bool
	for _, s := range services {
		if !release.Behind(s, release.Deployment{TemplateLabels: labels}) {
			continue
		}
		if wanted == nil {
			wanted = m.wanted(ctx, namespace, services)
		}
		if wanted[s.Name] || m.derived(ctx, namespace, s.Name) {
			q.add(namespace, s.Name)
		}
	}
}

// wanted are the Services that annotated Deployments of the namespace lead to; "" stands for those that lead nowhere.
func (m mapper) wanted(ctx context.Context, namespace string, services []release.Service) map[string]bool {
	out := map[string]bool{}
	var list appsv1.DeploymentList
	if err := m.r.cached.List(ctx, &list, client.InNamespace(namespace), client.MatchingFields{declared: "true"}); err != nil {
		return out
	}
	for i := range list.Items {
		name, _ := release.ServiceOf(namespace, cluster.Deployment(&list.Items[i]), services)
		out[name] = true
	}
	return out
}

// derived reports whether objects of ours exist for the Service.
func (m mapper) derived(ctx context.Context, namespace, service string) bool {
	if !m.r.istio.served() {
		return false
	}
	key := types.NamespacedName{Namespace: namespace, Name: istio.Name(service)}
	return m.r.cached.Get(ctx, key, &networkingv1.DestinationRule{}) == nil ||
		m.r.cached.Get(ctx, key, &networkingv1.VirtualService{}) == nil
}

// service: a Service that comes, goes or selects other pods may change what every annotated Deployment of its
// namespace leads to.
func (m mapper) service(ctx context.Context, s *corev1.Service) []reconcile.Request {
	services, err := m.r.services(ctx, s.Namespace)
	if err != nil {
		return nil
	}
	q, wanted := requests{}, m.wanted(ctx, s.Namespace, services)
	for name := range wanted {
		q.add(s.Namespace, name)
	}
	if wanted[""] || m.derived(ctx, s.Namespace, s.Name) {
		q.add(s.Namespace, s.Name)
	}
	return q.list()
}

func (m mapper) pod(ctx context.Context, p *corev1.Pod) []reconcile.Request {
	services, err := m.r.services(ctx, p.Namespace)
	if err != nil {
		return nil
	}
	q := requests{}
	m.released(ctx, q, p.Namespace, services, p.Labels)
	return q.list()
}

func (m mapper) virtualService(ctx context.Context, vs *networkingv1.VirtualService) []reconcile.Request {
	return m.hosts(ctx, vs, istio.HostKeys(vs, m.r.settings.ClusterDomain))
}

func (m mapper) destinationRule(ctx context.Context, dr *networkingv1.DestinationRule) []reconcile.Request {
	return m.hosts(ctx, dr, istio.HostKeys(dr, m.r.settings.ClusterDomain))
}

// hosts: an Istio object concerns the Services that it names; one with a wildcard all that annotated Deployments lead to.
func (m mapper) hosts(ctx context.Context, o client.Object, hosts []string) []reconcile.Request {
	q := requests{}
	if service, ours := strings.CutSuffix(o.GetName(), istio.Name("")); ours {
		q.add(o.GetNamespace(), service)
	}
	for _, host := range hosts {
		if strings.HasPrefix(host, "*") {
			m.everywhere(ctx, q)
			continue
		}
		name, rest, _ := strings.Cut(strings.TrimSuffix(host, ".svc."+m.r.settings.ClusterDomain), ".")
		if rest == "" || strings.Contains(rest, ".") {
			continue // no Service of this cluster
		}
		services, err := m.r.services(ctx, rest)
		if err == nil && (m.wanted(ctx, rest, services)[name] || m.derived(ctx, rest, name)) {
			q.add(rest, name)
		}
	}
	return q.list()
}

func (m mapper) everywhere(ctx context.Context, q requests) {
	var list appsv1.DeploymentList
	if err := m.r.cached.List(ctx, &list, client.MatchingFields{declared: "true"}); err != nil {
		return
	}
	for i := range list.Items {
		for _, req := range m.deployment(ctx, &list.Items[i]) {
			q[req] = true
		}
	}
}

// What of an object's changes can matter. Everything else, like a status count that moves, is dropped before it costs anything.
var (
	deploymentChanged = predicate.TypedFuncs[*appsv1.Deployment]{UpdateFunc: func(e event.TypedUpdateEvent[*appsv1.Deployment]) bool {
		a, b := cluster.Deployment(e.ObjectOld), cluster.Deployment(e.ObjectNew)
		return a.Deleting != b.Deleting || a.Replicas != b.Replicas || a.SpecPaused != b.SpecPaused || a.DeadlineExceeded != b.DeadlineExceeded ||
			!maps.Equal(a.Annotations, b.Annotations) || !maps.Equal(a.TemplateLabels, b.TemplateLabels) || !slices.Equal(a.Conditions, b.Conditions)
	}}
	serviceChanged = predicate.TypedFuncs[*corev1.Service]{UpdateFunc: func(e event.TypedUpdateEvent[*corev1.Service]) bool {
		a, b := cluster.Service(e.ObjectOld), cluster.Service(e.ObjectNew)
		return a.Deleting != b.Deleting || a.ExternalName != b.ExternalName || !maps.Equal(a.Selector, b.Selector) || !slices.Equal(a.Ports, b.Ports)
	}}
	podChanged = predicate.TypedFuncs[*corev1.Pod]{UpdateFunc: func(e event.TypedUpdateEvent[*corev1.Pod]) bool {
		return ready(e.ObjectOld) != ready(e.ObjectNew) || !maps.Equal(e.ObjectOld.Labels, e.ObjectNew.Labels)
	}}
)
