package store

import (
	"reflect"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"

	"grayscale.dev/grayscale/routing/cluster"
)

func TestTrimmedDeploymentSaysTheSame(t *testing.T) {
	d := deployment("web", map[string]string{"grayscale.dev/weight": "10", "kubectl.kubernetes.io/last-applied-configuration": "{...}"})
	two := int32(2)
	d.Spec.Replicas, d.Spec.Paused = &two, true
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "app", Image: "app:1"}}
	d.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentAvailable, Message: "enough"},
		{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionFalse, Reason: "ProgressDeadlineExceeded", Message: "long"},
		{Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Message: `pods "web-5d8f-x7k2p" is forbidden: exceeded quota: few`},
		{Type: "grayscale.dev/Programmed", Status: corev1.ConditionTrue, LastTransitionTime: metav1.Unix(5, 0)}}
	d.ManagedFields = []metav1.ManagedFieldsEntry{
		{Manager: "kubectl", Time: &metav1.Time{}, FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:replicas":{}}}`)},
		{Manager: "kubectl-annotate", Time: &metav1.Time{}, FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:annotations":{"f:grayscale.dev/weight":{},"f:team":{}}},"f:spec":{"f:paused":{}}}`)}}
	whole := d.DeepCopy()
	out := trimDeployment(d)
	if got, want := cluster.Deployment(out), cluster.Deployment(whole); !reflect.DeepEqual(got, want) {
		t.Errorf("trimmed it is %+v, whole %+v", got, want)
	}
	if !reflect.DeepEqual(d, whole) {
		t.Error("trimming changed its input, which other readers of the same event have as well")
	}
	if len(out.Annotations) != 1 || len(out.ManagedFields) != 1 || len(out.Spec.Template.Spec.Containers) != 0 || len(out.Status.Conditions) != 3 {
		t.Errorf("kept more than is read: %+v", out)
	}
	if since := out.Status.Conditions[2].LastTransitionTime; since.Unix() != 5 {
		t.Errorf("our condition lost its time: %s", since)
	}
}

func TestTrimmedServiceSaysTheSame(t *testing.T) {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "1",
		Annotations: map[string]string{cluster.ExportTo: "bank", "kubectl.kubernetes.io/last-applied-configuration": "{...}"}},
		Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Name: "http", Port: 80}}, ClusterIP: "10.0.0.1"}}
	out := trimService(s)
	if got, want := cluster.Service(out), cluster.Service(s); !reflect.DeepEqual(got, want) || len(got.ExportTo) != 1 {
		t.Errorf("trimmed it is %+v, whole %+v", got, want)
	}
	if len(out.Annotations) != 1 {
		t.Errorf("kept more than is read: %+v", out)
	}
}

func TestTrimLeavesTombstones(t *testing.T) {
	tomb := toolscache.DeletedFinalStateUnknown{Key: "shop/web"}
	if got, err := trimDefinition(tomb); err != nil || got != any(tomb) {
		t.Errorf("trim gave %v, %v; want the tombstone as it was", got, err)
	}
}
