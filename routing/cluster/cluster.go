// Package cluster turns Kubernetes objects into the facts of the engine. It is pure. The webhook and the annotator
// share it, so that both see the same Deployment.
package cluster

import (
	"maps"
	"slices"
	"strings"

	"istio.io/api/annotation"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
)

// Deployment returns the facts about a Deployment, without its pods.
func Deployment(d *appsv1.Deployment) release.Deployment {
	out := release.Deployment{
		Name: d.Name, UID: string(d.UID), CreatedAt: d.CreationTimestamp.Time,
		Annotations: Ours(d.Annotations), SetBy: SetBy(d.ManagedFields),
		TemplateLabels: d.Spec.Template.Labels, Replicas: 1, SpecPaused: d.Spec.Paused,
		Deleting: d.DeletionTimestamp != nil,
	}
	if d.Spec.Selector != nil {
		out.Selector = d.Spec.Selector.MatchLabels
	}
	if d.Spec.Replicas != nil {
		out.Replicas = *d.Spec.Replicas
	}
	for _, c := range d.Status.Conditions {
		switch {
		case c.Type == appsv1.DeploymentProgressing:
			out.DeadlineExceeded = c.Status == corev1.ConditionFalse && c.Reason == "ProgressDeadlineExceeded"
		case c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue:
			out.ReplicaFailure = WithoutPodName(c.Message)
		case strings.HasPrefix(string(c.Type), intent.Prefix):
			out.Conditions = append(out.Conditions, release.Condition{
				Type: string(c.Type), Status: string(c.Status), Reason: c.Reason, Message: c.Message})
		}
	}
	slices.SortFunc(out.Conditions, func(a, b release.Condition) int { return strings.Compare(a.Type, b.Type) })
	return out
}

// WithoutPodName is the message of a condition ReplicaFailure without the part that differs each time Kubernetes tries
// again: `pods "web-v2-5d8f-x7k2p" is forbidden: exceeded quota` becomes `pods are forbidden: exceeded quota`.
func WithoutPodName(message string) string {
	rest, named := strings.CutPrefix(message, `pods "`)
	_, what, closed := strings.Cut(rest, `" is `)
	if !named || !closed {
		return message
	}
	return "pods are " + what
}

// Ours are the annotations with our prefix; nil if there are none.
func Ours(annotations map[string]string) map[string]string {
	var out map[string]string
	for k, v := range annotations {
		if strings.HasPrefix(k, intent.Prefix) {
			if out == nil {
				out = map[string]string{}
			}
			out[k] = v
		}
	}
	return out
}

// SetBy returns which field manager last wrote each of our annotations. The path to them in managedFields is
// f:metadata, f:annotations, f:<key>
// (https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management). If a key has several owners, it
// is never grayscale: what a user also writes belongs to the user, and grayscale must not remove it.
func SetBy(fields []metav1.ManagedFieldsEntry) map[string]string {
	var out map[string]string
	byTime := slices.Clone(fields)
	slices.SortStableFunc(byTime, func(a, b metav1.ManagedFieldsEntry) int {
		switch {
		case a.Manager != b.Manager && a.Manager == routing.FieldManager:
			return -1
		case a.Manager != b.Manager && b.Manager == routing.FieldManager:
			return 1
		case a.Time == nil || b.Time == nil || a.Time.Equal(b.Time):
			return 0
		case a.Time.Before(b.Time):
			return -1
		}
		return 1
	})
	for _, e := range byTime {
		if e.FieldsV1 == nil {
			continue
		}
		for _, key := range keysIn(e.FieldsV1.GetRawString()) {
			if out == nil {
				out = map[string]string{}
			}
			out[key] = e.Manager
		}
	}
	return out
}

// keysIn finds our keys in a managedFields set. Keys with our prefix occur only among the annotations there, because no
// labels of ours exist. So a text search is exact and needs no parser.
func keysIn(raw string) []string {
	const mark = `"f:` + intent.Prefix
	var out []string
	for {
		i := strings.Index(raw, mark)
		if i < 0 {
			return out
		}
		raw = raw[i+len(`"f:`):]
		end := strings.IndexByte(raw, '"')
		if end < 0 {
			return out
		}
		out = append(out, raw[:end])
	}
}

// Service returns the facts about a Service.
func Service(s *corev1.Service) release.Service {
	out := release.Service{
		Namespace: s.Namespace, Name: s.Name, UID: string(s.UID), Selector: maps.Clone(s.Spec.Selector),
		Headless:     s.Spec.ClusterIP == corev1.ClusterIPNone,
		ExternalName: s.Spec.Type == corev1.ServiceTypeExternalName,
		Deleting:     s.DeletionTimestamp != nil,
		ExportTo:     exportTo(s),
	}
	for _, p := range s.Spec.Ports {
		port := release.Port{Name: p.Name, Number: p.Port, Protocol: string(p.Protocol)}
		if p.AppProtocol != nil {
			port.AppProtocol = *p.AppProtocol
		}
		out.Ports = append(out.Ports, port)
	}
	return out
}

// MeshRoute returns the facts about a route of the Gateway API, of any kind, with those of its parents that are
// Services.
func MeshRoute(kind string, meta *metav1.ObjectMeta, parents []gatewayv1.ParentReference) istio.MeshRoute {
	out := istio.MeshRoute{Kind: kind, Namespace: meta.Namespace, Name: meta.Name, CreatedAt: meta.CreationTimestamp.Time}
	for _, p := range parents {
		if !IsService(p) {
			continue
		}
		parent := istio.MeshParent{Namespace: meta.Namespace, Name: string(p.Name)}
		if p.Namespace != nil {
			parent.Namespace = string(*p.Namespace)
		}
		if p.Port != nil {
			parent.Port = *p.Port
		}
		out.Parents = append(out.Parents, parent)
	}
	return out
}

// IsService reports whether a parentRef is to a Service; without group and kind it is to a Gateway.
func IsService(p gatewayv1.ParentReference) bool {
	return p.Kind != nil && *p.Kind == "Service" && p.Group != nil && *p.Group == ""
}

// ExportTo is the annotation that limits the namespaces in which Istio shows a Service.
var ExportTo = annotation.NetworkingExportTo.Name

const (
	toAll  = "*"
	toNone = "~"
)

// exportTo reads the annotation as istiod does (istio pilot/pkg/model/push_context.go, initServiceRegistry). It returns
// it in the form that Istio allows in a VirtualService: each namespace once, and only valid names of namespaces.
func exportTo(s *corev1.Service) []string {
	if s.Annotations[ExportTo] == "" {
		return nil
	}
	var out []string
	for _, to := range strings.Split(s.Annotations[ExportTo], ",") {
		switch to = strings.TrimSpace(to); {
		case to == toAll:
			return nil
		case to == s.Namespace || to == ".":
			out = append(out, ".")
		case to == toNone || len(validation.IsDNS1123Label(to)) == 0:
			out = append(out, to)
		}
	}
	if len(out) == 0 || slices.Contains(out, toNone) {
		return []string{toNone}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
