package annotator

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"grayscale.dev/grayscale/routing/cluster"
)

// declared indexes the Deployments that carry an annotation of ours, so that a namespace of thousands of others is not searched.
const declared = "grayscale.declared"

// CacheOptions trim what is kept in memory to what is read: pods to their labels, owner and readiness, Deployments to what
// cluster.Deployment reads.
func CacheOptions() cache.Options {
	return cache.Options{ByObject: map[client.Object]cache.ByObject{
		&corev1.Pod{}:        {Transform: trimPod},
		&appsv1.Deployment{}: {Transform: trimDeployment},
		&corev1.Service{}:    {Transform: trimService},
	}}
}

func index(mgr manager.Manager) error {
	return mgr.GetFieldIndexer().IndexField(context.Background(), &appsv1.Deployment{}, declared, func(o client.Object) []string {
		if len(cluster.Ours(o.GetAnnotations())) > 0 {
			return []string{"true"}
		}
		return nil
	})
}

func trimPod(o any) (any, error) {
	p, ok := o.(*corev1.Pod)
	if !ok {
		return o, nil // a tombstone
	}
	out := &corev1.Pod{ObjectMeta: trimMeta(p.ObjectMeta)}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			out.Status.Conditions = []corev1.PodCondition{{Type: c.Type, Status: c.Status, LastTransitionTime: c.LastTransitionTime}}
		}
	}
	return out, nil
}

func trimDeployment(o any) (any, error) {
	d, ok := o.(*appsv1.Deployment)
	if !ok {
		return o, nil
	}
	out := &appsv1.Deployment{ObjectMeta: trimMeta(d.ObjectMeta)}
	out.Annotations = cluster.Ours(d.Annotations)
	if out.Annotations != nil {
		out.ManagedFields = whoSet(d.ManagedFields)
	}
	out.Spec.Replicas, out.Spec.Selector, out.Spec.Paused = d.Spec.Replicas, d.Spec.Selector, d.Spec.Paused
	out.Spec.Template.Labels = d.Spec.Template.Labels
	for _, c := range d.Status.Conditions {
		if c.Type != appsv1.DeploymentAvailable {
			out.Status.Conditions = append(out.Status.Conditions, c)
		}
	}
	return out, nil
}

// whoSet keeps of managedFields what tells who wrote our annotations.
func whoSet(fields []metav1.ManagedFieldsEntry) []metav1.ManagedFieldsEntry {
	var out []metav1.ManagedFieldsEntry
	for _, e := range fields {
		one := cluster.SetBy([]metav1.ManagedFieldsEntry{e})
		if len(one) == 0 {
			continue
		}
		raw := `{"f:metadata":{"f:annotations":{`
		sep := ""
		for key := range one {
			raw += fmt.Sprintf(`%s"f:%s":{}`, sep, key)
			sep = ","
		}
		out = append(out, metav1.ManagedFieldsEntry{Manager: e.Manager, Time: e.Time, FieldsV1: metav1.NewFieldsV1(raw + "}}}")})
	}
	return out
}

func trimService(o any) (any, error) {
	s, ok := o.(*corev1.Service)
	if !ok {
		return o, nil
	}
	return &corev1.Service{ObjectMeta: trimMeta(s.ObjectMeta), Spec: corev1.ServiceSpec{
		Selector: s.Spec.Selector, Ports: s.Spec.Ports, Type: s.Spec.Type, ClusterIP: s.Spec.ClusterIP}}, nil
}

func trimMeta(m metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: m.Name, Namespace: m.Namespace, UID: m.UID, ResourceVersion: m.ResourceVersion,
		Generation: m.Generation, CreationTimestamp: m.CreationTimestamp, DeletionTimestamp: m.DeletionTimestamp,
		Labels: m.Labels, OwnerReferences: m.OwnerReferences, Annotations: map[string]string(nil)}
}
