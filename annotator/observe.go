package annotator

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/cluster"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
)

// observe gathers everything that is known about one Service. A key without a name stands for the Deployments of the
// namespace that are annotated but lead to no Service.
func (r *reconciler) observe(ctx context.Context, key types.NamespacedName) (routing.Facts, error) {
	f := routing.Facts{Now: r.now(), IstioMissing: !r.istio.served()}
	services, err := r.services(ctx, key.Namespace)
	if err != nil {
		return f, err
	}
	f.Service = release.Service{Namespace: key.Namespace, Name: key.Name, Missing: true}
	for _, s := range services {
		if s.Name == key.Name {
			f.Service = s
		}
	}
	if f.Service.Missing {
		f.Services = services
	}
	if f.Deployments, err = r.deployments(ctx, f.Service, services); err != nil {
		return f, err
	}
	if f.Service.Missing {
		return f, nil
	}
	if err := r.countPods(ctx, &f); err != nil || f.IstioMissing {
		return f, err
	}
	return f, r.routes(ctx, &f)
}

func (r *reconciler) services(ctx context.Context, namespace string) ([]release.Service, error) {
	var list corev1.ServiceList
	if err := r.cached.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	out := make([]release.Service, len(list.Items))
	for i := range list.Items {
		out[i] = cluster.Service(&list.Items[i])
	}
	return out, nil
}

// deployments are those behind the Service: annotated ones that lead to it, and others whose pods it selects.
func (r *reconciler) deployments(ctx context.Context, s release.Service, services []release.Service) ([]release.Deployment, error) {
	var list appsv1.DeploymentList
	opts := []client.ListOption{client.InNamespace(s.Namespace)}
	if s.Missing {
		opts = append(opts, client.MatchingFields{declared: "true"})
	}
	if err := r.cached.List(ctx, &list, opts...); err != nil {
		return nil, err
	}
	var out []release.Deployment
	for i := range list.Items {
		d := cluster.Deployment(&list.Items[i])
		if len(d.Annotations) == 0 {
			if release.Behind(s, d) {
				out = append(out, d)
			}
			continue
		}
		if name, _ := release.ServiceOf(s.Namespace, d, services); name == s.Name {
			out = append(out, d)
		}
	}
	slices.SortFunc(out, func(a, b release.Deployment) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// countPods counts the Service's pods by Deployment and version label.
func (r *reconciler) countPods(ctx context.Context, f *routing.Facts) error {
	if len(f.Service.Selector) == 0 || len(f.Deployments) == 0 && !r.istio.served() {
		return nil
	}
	var list corev1.PodList
	if err := r.cached.List(ctx, &list, client.InNamespace(f.Service.Namespace),
		client.MatchingLabelsSelector{Selector: labels.SelectorFromSet(f.Service.Selector)}); err != nil {
		return err
	}
	counts := map[string]map[string]release.Pods{}
	for i := range list.Items {
		p := &list.Items[i]
		owner := deploymentOf(p)
		if counts[owner] == nil {
			counts[owner] = map[string]release.Pods{}
		}
		version := p.Labels[release.VersionLabel]
		n := counts[owner][version]
		n.Version = version
		n.Total++
		if ready(p) {
			n.Ready++
			if since := readySince(p); n.Ready == 1 || since.Before(n.Since) {
				n.Since = since
			}
		}
		counts[owner][version] = n
	}
	for i := range f.Deployments {
		f.Deployments[i].Pods = sorted(counts[f.Deployments[i].Name])
		delete(counts, f.Deployments[i].Name)
	}
	strays := map[string]release.Pods{}
	for _, byVersion := range counts {
		for v, n := range byVersion {
			sum := strays[v]
			strays[v] = release.Pods{Version: v, Ready: sum.Ready + n.Ready, Total: sum.Total + n.Total}
		}
	}
	f.Strays = sorted(strays)
	return nil
}

func sorted(byVersion map[string]release.Pods) []release.Pods {
	return slices.SortedFunc(maps.Values(byVersion), func(a, b release.Pods) int { return strings.Compare(a.Version, b.Version) })
}

func ready(p *corev1.Pod) bool {
	if p.DeletionTimestamp != nil {
		return false
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// readySince is the latest instant at which the pod may have become ready: the API keeps whole seconds, cut off.
func readySince(p *corev1.Pod) time.Time {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.LastTransitionTime.Add(time.Second)
		}
	}
	return time.Time{}
}

// deploymentOf names the Deployment of a pod without a cache of ReplicaSets: the Deployment controller calls its ReplicaSets
// "<deployment>-<pod-template-hash>" and labels the pods with the hash
// (kubernetes pkg/controller/deployment/sync.go, getNewReplicaSet).
func deploymentOf(p *corev1.Pod) string {
	hash := p.Labels[appsv1.DefaultDeploymentUniqueLabelKey]
	for _, o := range p.OwnerReferences {
		if o.Kind == "ReplicaSet" && hash != "" {
			if name, ok := strings.CutSuffix(o.Name, "-"+hash); ok {
				return name
			}
		}
	}
	return ""
}

// routes reads the derived objects and whoever else names the host.
func (r *reconciler) routes(ctx context.Context, f *routing.Facts) error {
	key := types.NamespacedName{Namespace: f.Service.Namespace, Name: istio.Name(f.Service.Name)}
	vs, dr := &networkingv1.VirtualService{}, &networkingv1.DestinationRule{}
	switch err := r.cached.Get(ctx, key, vs); {
	case err == nil:
		f.VirtualService = vs
	case !apierrors.IsNotFound(err):
		return err
	}
	switch err := r.cached.Get(ctx, key, dr); {
	case err == nil:
		f.DestinationRule = dr
	case !apierrors.IsNotFound(err):
		return err
	}
	return r.others(ctx, f, key)
}

func (r *reconciler) others(ctx context.Context, f *routing.Facts, ours types.NamespacedName) error {
	seen := map[types.UID]bool{}
	for _, host := range hostKeys(istio.Host(f.Service, r.settings.ClusterDomain)) {
		var services networkingv1.VirtualServiceList
		if err := r.cached.List(ctx, &services, client.MatchingFields{hostIndex: host}); err != nil {
			return err
		}
		for _, vs := range services.Items {
			if client.ObjectKeyFromObject(vs) != ours && !seen[vs.UID] {
				seen[vs.UID] = true
				f.OtherVirtualServices = append(f.OtherVirtualServices, vs)
			}
		}
		var rules networkingv1.DestinationRuleList
		if err := r.cached.List(ctx, &rules, client.MatchingFields{hostIndex: host}); err != nil {
			return err
		}
		for _, dr := range rules.Items {
			if client.ObjectKeyFromObject(dr) != ours && !seen[dr.UID] {
				seen[dr.UID] = true
				f.OtherDestinationRules = append(f.OtherDestinationRules, dr)
			}
		}
	}
	return nil
}

// hostKeys are the host itself and every wildcard that covers it, as objects may name them: "*.shop.svc.cluster.local", ..., "*".
func hostKeys(fqdn string) []string {
	out := []string{fqdn, "*"}
	for i := range len(fqdn) {
		if fqdn[i] == '.' {
			out = append(out, "*"+fqdn[i:])
		}
	}
	return out
}
