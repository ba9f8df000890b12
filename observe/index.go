package observe

import (
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"grayscale.dev/grayscale/routing/cluster"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
)

// Index finds objects of one kind by keys that are read off each of them. It says what to look for and not how: a store
// may keep an index of this name, and a short list may be searched with Filter.
type Index[T any] struct {
	Name string
	Keys func(T) []string
}

type (
	// DeploymentIndex is an index of Deployments.
	DeploymentIndex = Index[*appsv1.Deployment]
	// PodIndex is an index of pods.
	PodIndex = Index[*Pod]
	// ServiceIndex is an index of Services.
	ServiceIndex = Index[*corev1.Service]
)

// Filter is the part of a list that the index has under a key.
func Filter[T any](list []T, by Index[T], key string) []T {
	var out []T
	for _, o := range list {
		if slices.Contains(by.Keys(o), key) {
			out = append(out, o)
		}
	}
	return out
}

// Everywhere is the key of Participants that stands for all namespaces.
const Everywhere = "*"

// The indexes that a Reader is asked for. Keys begin with "namespace/".
var (
	// DeploymentsByLabel has Deployments by each label of their pod templates.
	DeploymentsByLabel = DeploymentIndex{"label", func(d *appsv1.Deployment) []string {
		return labelKeys(d.Namespace, d.Spec.Template.Labels)
	}}
	// ParticipantsByLabel has those alone that participate.
	ParticipantsByLabel = DeploymentIndex{"participantLabel", func(d *appsv1.Deployment) []string {
		if !participates(d) {
			return nil
		}
		return labelKeys(d.Namespace, d.Spec.Template.Labels)
	}}
	// DeploymentsByService has Deployments by each Service that their annotation names.
	DeploymentsByService = DeploymentIndex{"service", func(d *appsv1.Deployment) []string {
		named := intent.Services(d.Annotations)
		for i := range named {
			named[i] = d.Namespace + "/" + named[i]
		}
		return named
	}}
	// Participants has those that participate by "namespace/", and all of them under Everywhere.
	Participants = DeploymentIndex{"participant", func(d *appsv1.Deployment) []string {
		if !participates(d) {
			return nil
		}
		return []string{d.Namespace + "/", Everywhere}
	}}
	// PodsByLabel has pods by each of their labels.
	PodsByLabel = PodIndex{"label", func(p *Pod) []string {
		state := p.state.Value()
		return labelKeys(state.namespace, split(state.labels))
	}}
	// PodsByOwner has pods by the Deployment whose ReplicaSet owns them; its name may be cut.
	PodsByOwner = PodIndex{"owner", func(p *Pod) []string {
		state := p.state.Value()
		if state.deployment == "" {
			return nil
		}
		return []string{state.namespace + "/" + state.deployment}
	}}
	// ServicesBySelector has Services by one label of their selectors, and those that select by the version label alone
	// under anyVersion as well.
	ServicesBySelector = ServiceIndex{"selector", func(s *corev1.Service) []string {
		if len(s.Spec.Selector) == 0 {
			return nil
		}
		keys := []string{selectorKey(s.Namespace, s.Spec.Selector)}
		if _, versioned := s.Spec.Selector[release.VersionLabel]; versioned && len(s.Spec.Selector) == 1 {
			keys = append(keys, anyVersion(s.Namespace))
		}
		return keys
	}}
)

// Wildcard is the key of all Istio objects for a host with a wildcard.
const Wildcard = "*"

// ByHost is the index of Istio's objects by HostKeys.
func ByHost[T any](domain string) Index[T] {
	return Index[T]{"host", func(o T) []string { return HostKeys(o, domain) }}
}

// HostKeys are the hosts that an Istio object names, completed by the cluster's domain. Each host with a wildcard is
// Wildcard.
func HostKeys(o any, domain string) []string {
	keys := istio.HostKeys(o, domain)
	for i, host := range keys {
		if strings.HasPrefix(host, "*") {
			keys[i] = Wildcard
		}
	}
	return keys
}

// participates reports whether a Deployment carries anything of grayscale's: an annotation, or a condition left from
// one.
func participates(d *appsv1.Deployment) bool {
	if len(cluster.Ours(d.Annotations)) > 0 {
		return true
	}
	return slices.ContainsFunc(d.Status.Conditions, func(c appsv1.DeploymentCondition) bool {
		return strings.HasPrefix(string(c.Type), intent.Prefix)
	})
}

func labelKey(namespace, key, value string) string { return namespace + "/" + key + "=" + value }

// labelKeys leave out the hash. Nothing is looked up by it, and each ReplicaSet has another one.
func labelKeys(namespace string, labels map[string]string) []string {
	keys := make([]string, 0, len(labels))
	for k, v := range labels {
		if k != appsv1.DefaultDeploymentUniqueLabelKey {
			keys = append(keys, labelKey(namespace, k, v))
		}
	}
	return keys
}

// anyVersion is the key of Services that select by the version label alone.
func anyVersion(namespace string) string { return namespace + "/" + release.VersionLabel }

// selectorKey is one label of everything that the selector matches: the alphabetically first. It is not the version
// label where there is another one, because admission looks Services up for pods that have no version label yet.
func selectorKey(namespace string, selector map[string]string) string {
	first := ""
	for k := range selector {
		if first == "" || first == release.VersionLabel || k < first && k != release.VersionLabel {
			first = k
		}
	}
	return labelKey(namespace, first, selector[first])
}

func matches(selector, labels map[string]string) bool {
	for k, v := range selector {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return len(selector) > 0
}
