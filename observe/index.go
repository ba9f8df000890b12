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

// Index finds objects of one kind by keys, which a function derives from each object. It does not say how to search: a
// store may keep an index of this name, and Filter searches a short list.
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

// Everywhere is the key of Participants for all namespaces.
const Everywhere = "*"

// The indexes that a Reader has. All keys but Everywhere begin with "namespace/".
var (
	// DeploymentsByLabel has Deployments by each label of their pod templates.
	DeploymentsByLabel = DeploymentIndex{"label", func(d *appsv1.Deployment) []string {
		return labelKeys(d.Namespace, d.Spec.Template.Labels)
	}}
	// ParticipantsByLabel is DeploymentsByLabel with participants only.
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
	// Participants has the participants of a namespace under "namespace/", and all of them under Everywhere.
	Participants = DeploymentIndex{"participant", func(d *appsv1.Deployment) []string {
		if !participates(d) {
			return nil
		}
		return []string{d.Namespace + "/", Everywhere}
	}}
	// PodsByLabel has pods by each of their labels.
	PodsByLabel = PodIndex{"label", func(p *Pod) []string { return p.Labels.keys(p.Namespace) }}
	// PodsByOwner has pods by the Deployment whose ReplicaSet owns them, with the name as cutName returns it.
	PodsByOwner = PodIndex{"owner", func(p *Pod) []string {
		if p.Deployment == "" {
			return nil
		}
		return []string{p.Namespace + "/" + p.Deployment}
	}}
	// ServicesBySelector has Services by one label of their selectors. Those that select by nothing but the version label
	// are under anyVersion as well.
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

// HostKeys are the hosts that an Istio object names, completed by the cluster's domain. Wildcard stands for every host
// with a wildcard.
func HostKeys(o any, domain string) []string {
	keys := istio.HostKeys(o, domain)
	for i, host := range keys {
		if strings.HasPrefix(host, "*") {
			keys[i] = Wildcard
		}
	}
	return keys
}

// participates reports whether a Deployment has an annotation of grayscale's, or a condition that is left over from
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

func labelKeys(namespace string, labels map[string]string) []string {
	return labelList(labels).keys(namespace)
}

// anyVersion is the key of Services that select by nothing but the version label.
func anyVersion(namespace string) string { return namespace + "/" + release.VersionLabel }

// selectorKey is the index key of one label of the selector: the alphabetically first. It is the version label only
// where there is no other one, because admission searches Services for pods that have no version label yet.
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
	return labelList(selector).match(labelList(labels))
}
