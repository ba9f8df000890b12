package store

import (
	"encoding/json"
	"strings"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/routing/cluster"
	"grayscale.dev/grayscale/routing/intent"
)

// identity is what of an object's metadata is read everywhere.
func identity(m *metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion,
		CreationTimestamp: m.CreationTimestamp, DeletionTimestamp: m.DeletionTimestamp}
}

func trimDeployment(d *appsv1.Deployment) *appsv1.Deployment {
	out := &appsv1.Deployment{ObjectMeta: identity(&d.ObjectMeta)}
	if out.Annotations = cluster.Ours(d.Annotations); out.Annotations != nil {
		out.ManagedFields = trimManagers(d.ManagedFields)
	}
	out.Spec.Replicas, out.Spec.Paused = d.Spec.Replicas, d.Spec.Paused
	out.Spec.Template.Labels = d.Spec.Template.Labels
	if d.Spec.Selector != nil {
		out.Spec.Selector = &metav1.LabelSelector{MatchLabels: d.Spec.Selector.MatchLabels}
	}
	for _, c := range d.Status.Conditions {
		switch {
		case strings.HasPrefix(string(c.Type), intent.Prefix):
			out.Status.Conditions = append(out.Status.Conditions, c)
		case c.Type == appsv1.DeploymentProgressing: // its times and message change all the time
			out.Status.Conditions = append(out.Status.Conditions, appsv1.DeploymentCondition{
				Type: c.Type, Status: c.Status, Reason: c.Reason})
		case c.Type == appsv1.DeploymentReplicaFailure: // the pod in its message is another at every attempt
			out.Status.Conditions = append(out.Status.Conditions, appsv1.DeploymentCondition{
				Type: c.Type, Status: c.Status, Message: cluster.WithoutPodName(c.Message)})
		}
	}
	return out
}

// trimManagers keeps of each entry which annotations of ours it owns: enough to tell who wrote them, and small.
func trimManagers(entries []metav1.ManagedFieldsEntry) []metav1.ManagedFieldsEntry {
	var out []metav1.ManagedFieldsEntry
	for _, e := range entries {
		owned := map[string]struct{}{}
		for key := range cluster.SetBy([]metav1.ManagedFieldsEntry{e}) {
			owned["f:"+key] = struct{}{}
		}
		if len(owned) == 0 {
			continue
		}
		raw, err := json.Marshal(map[string]any{"f:metadata": map[string]any{"f:annotations": owned}})
		if err != nil {
			continue // maps of strings always marshal
		}
		out = append(out, metav1.ManagedFieldsEntry{Manager: e.Manager, Operation: e.Operation, Time: e.Time,
			FieldsV1: metav1.NewFieldsV1(string(raw))})
	}
	return out
}

func trimService(s *corev1.Service) *corev1.Service {
	out := &corev1.Service{ObjectMeta: identity(&s.ObjectMeta), Spec: corev1.ServiceSpec{
		Selector: s.Spec.Selector, Ports: s.Spec.Ports, Type: s.Spec.Type, ClusterIP: s.Spec.ClusterIP}}
	if to, exported := s.Annotations[cluster.ExportTo]; exported {
		out.Annotations = map[string]string{cluster.ExportTo: to}
	}
	return out
}

// trimVirtualService keeps whole what bears a name of ours, for it is compared with what is wanted; of others only whom
// they are for matters.
func trimVirtualService(vs *networkingv1.VirtualService) *networkingv1.VirtualService {
	out := &networkingv1.VirtualService{ObjectMeta: identity(&vs.ObjectMeta)}
	out.Labels, out.OwnerReferences, out.Annotations = vs.Labels, vs.OwnerReferences, cluster.Ours(vs.Annotations)
	if _, derived := observe.Derived(vs.Name); derived {
		vs.Spec.DeepCopyInto(&out.Spec)
		return out
	}
	out.Spec.Hosts, out.Spec.Gateways, out.Spec.ExportTo = vs.Spec.Hosts, vs.Spec.Gateways, vs.Spec.ExportTo
	return out
}

func trimDestinationRule(dr *networkingv1.DestinationRule) *networkingv1.DestinationRule {
	out := &networkingv1.DestinationRule{ObjectMeta: identity(&dr.ObjectMeta)}
	out.Labels, out.OwnerReferences, out.Annotations = dr.Labels, dr.OwnerReferences, cluster.Ours(dr.Annotations)
	dr.Spec.DeepCopyInto(&out.Spec)
	return out
}

// trimDefinition keeps a custom resource definition's name and whether it is on its way out. It leaves tombstones as
// they are.
func trimDefinition(in any) (any, error) {
	if m, ok := in.(*metav1.PartialObjectMetadata); ok {
		return &metav1.PartialObjectMetadata{TypeMeta: m.TypeMeta, ObjectMeta: identity(&m.ObjectMeta)}, nil
	}
	return in, nil
}
