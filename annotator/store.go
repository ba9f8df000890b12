package annotator

import (
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
)

// Names of indexes. Their keys begin with "namespace/", except for hosts.
const (
	byLabel     = "label"     // Deployments by each template label, pods by each label
	byOurLabel  = "ourLabel"  // Deployments that concern us, by each template label
	byNaming    = "naming"    // Deployments by each Service that an annotation names
	byConcern   = "concern"   // Deployments that concern us: by namespace, and under everywhere
	byOwner     = "owner"     // pods by the Deployment whose ReplicaSet owns them
	byNamespace = "namespace" // Services
	bySelector  = "selector"  // Services by one label of their selector
	byHost      = "host"      // Istio objects by resolved host, all with a wildcard under wildcard
)

const (
	everywhere = "*"
	wildcard   = "*"
)

var deploymentIndexes = indexes[*appsv1.Deployment]{
	byLabel: func(d *appsv1.Deployment) []string { return labelKeys(d.Namespace, d.Spec.Template.Labels) },
	byOurLabel: func(d *appsv1.Deployment) []string {
		if !concerns(d) {
			return nil
		}
		return labelKeys(d.Namespace, d.Spec.Template.Labels)
	},
	byNaming: func(d *appsv1.Deployment) []string {
		named := intent.Services(d.Annotations)
		for i := range named {
			named[i] = d.Namespace + "/" + named[i]
		}
		return named
	},
	byConcern: func(d *appsv1.Deployment) []string {
		if !concerns(d) {
			return nil
		}
		return []string{d.Namespace + "/", everywhere}
	},
}

var podIndexes = indexes[*corev1.Pod]{
	byLabel: func(p *corev1.Pod) []string { return labelKeys(p.Namespace, p.Labels) },
	byOwner: func(p *corev1.Pod) []string {
		if owner := ownerKey(p); owner != "" {
			return []string{p.Namespace + "/" + owner}
		}
		return nil
	},
}

var serviceIndexes = indexes[*corev1.Service]{
	byNamespace: func(s *corev1.Service) []string { return []string{s.Namespace} },
	bySelector: func(s *corev1.Service) []string {
		if len(s.Spec.Selector) == 0 {
			return nil
		}
		return []string{selectorKey(s.Namespace, s.Spec.Selector)}
	},
}

// hostIndexes index Istio's objects, whose short names the cluster's domain completes.
func hostIndexes[T kept](domain string) indexes[T] {
	return indexes[T]{byHost: func(o T) []string {
		keys := istio.HostKeys(o, domain)
		for i, host := range keys {
			if strings.HasPrefix(host, "*") {
				keys[i] = wildcard
			}
		}
		return keys
	}}
}

func labelKey(namespace, key, value string) string { return namespace + "/" + key + "=" + value }

// labelKeys leave out the hash, by which nothing is looked up and which is another one for each ReplicaSet.
func labelKeys(namespace string, labels map[string]string) []string {
	keys := make([]string, 0, len(labels))
	for k, v := range labels {
		if k != appsv1.DefaultDeploymentUniqueLabelKey {
			keys = append(keys, labelKey(namespace, k, v))
		}
	}
	return keys
}

// selectorKey is one label that everything the selector matches has: the alphabetically first, any would do.
func selectorKey(namespace string, selector map[string]string) string {
	first := ""
	for k := range selector {
		if first == "" || k < first {
			first = k
		}
	}
	return labelKey(namespace, first, selector[first])
}

func (s *Caches) service(namespace, name string) (*corev1.Service, bool) {
	return s.services.get(namespace + "/" + name)
}

// selecting are the Services whose selector matches the labels, sorted by name.
func (s *Caches) selecting(namespace string, labels map[string]string) []*corev1.Service {
	var out []*corev1.Service
	for _, key := range labelKeys(namespace, labels) {
		for _, svc := range s.services.under(bySelector, key) {
			if matches(svc.Spec.Selector, labels) {
				out = append(out, svc)
			}
		}
	}
	slices.SortFunc(out, func(a, b *corev1.Service) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// matching are the Deployments of an index whose template the selector matches; a Service without a selector has none.
func (s *Caches) matching(indexName, namespace string, selector map[string]string) []*appsv1.Deployment {
	if len(selector) == 0 {
		return nil
	}
	return slices.DeleteFunc(s.deployments.under(indexName, selectorKey(namespace, selector)),
		func(d *appsv1.Deployment) bool { return !matches(selector, d.Spec.Template.Labels) })
}

func (s *Caches) podsSelected(namespace string, selector map[string]string) []*corev1.Pod {
	if len(selector) == 0 {
		return nil
	}
	return slices.DeleteFunc(s.pods.under(byLabel, selectorKey(namespace, selector)),
		func(p *corev1.Pod) bool { return !matches(selector, p.Labels) })
}

func (s *Caches) podsOf(d *appsv1.Deployment) []*corev1.Pod {
	pods := s.pods.under(byOwner, d.Namespace+"/"+cutName(d.Name))
	return slices.DeleteFunc(pods, func(p *corev1.Pod) bool {
		return d.Spec.Selector != nil && !matches(d.Spec.Selector.MatchLabels, p.Labels)
	})
}

func matches(selector, labels map[string]string) bool {
	for k, v := range selector {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return len(selector) > 0
}

// maxOwner is shorter than the shortest a ReplicaSet's name can cut its Deployment's to: 253 characters less a dash and
// a hash of at most 10 (k8s.io/kubernetes pkg/controller/deployment/sync.go, generateReplicaSetName).
const maxOwner = 242

func cutName(deployment string) string {
	if len(deployment) > maxOwner {
		return deployment[:maxOwner]
	}
	return deployment
}

// ownerKey names the Deployment of a pod without a cache of ReplicaSets: the Deployment controller names them
// "<deployment>-<hash>" and labels their pods with the hash. Empty for pods of anything else.
func ownerKey(p *corev1.Pod) string {
	hash := p.Labels[appsv1.DefaultDeploymentUniqueLabelKey]
	if hash == "" || len(p.OwnerReferences) == 0 || p.OwnerReferences[0].Kind != "ReplicaSet" {
		return ""
	}
	name, ok := strings.CutSuffix(p.OwnerReferences[0].Name, "-"+hash)
	if !ok {
		return ""
	}
	return cutName(name)
}
