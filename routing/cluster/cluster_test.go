package cluster

import (
	"reflect"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/routing/release"
)

func TestDeployment(t *testing.T) {
	three := int32(3)
	d := &appsv1.Deployment{}
	d.Name, d.UID, d.CreationTimestamp = "web", "u", metav1.Unix(5, 0)
	d.Annotations = map[string]string{"grayscale.dev/weight": "10", "team": "a"}
	d.Spec.Replicas, d.Spec.Paused = &three, true
	d.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
	d.Spec.Template.Labels = map[string]string{"app": "web", "version": "v1"}
	d.DeletionTimestamp = &metav1.Time{Time: time.Unix(9, 0)}
	d.Status.Conditions = []appsv1.DeploymentCondition{ // in the order of server-side apply's, not ours
		{Type: "grayscale.dev/Programmed", Status: corev1.ConditionTrue, Reason: "Programmed", Message: "canary 10% of web"},
		{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionFalse, Reason: "ProgressDeadlineExceeded"},
		{Type: "grayscale.dev/Accepted", Status: corev1.ConditionTrue, Reason: "Accepted", Message: "ok"},
		{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue},
		{Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Message: `pods "web-5d8f-x7k2p" is forbidden: exceeded quota: few`},
	}
	want := release.Deployment{Name: "web", UID: "u", CreatedAt: time.Unix(5, 0), Annotations: map[string]string{"grayscale.dev/weight": "10"},
		TemplateLabels: map[string]string{"app": "web", "version": "v1"}, Selector: map[string]string{"app": "web"}, Replicas: 3,
		SpecPaused: true, Deleting: true, DeadlineExceeded: true, ReplicaFailure: "pods are forbidden: exceeded quota: few", Conditions: []release.Condition{
			{Type: "grayscale.dev/Accepted", Status: "True", Reason: "Accepted", Message: "ok"},
			{Type: "grayscale.dev/Programmed", Status: "True", Reason: "Programmed", Message: "canary 10% of web"}}}
	if got := Deployment(d); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDeploymentDefaults(t *testing.T) {
	got := Deployment(&appsv1.Deployment{})
	if got.Replicas != 1 || got.Annotations != nil || got.SetBy != nil || got.Conditions != nil || got.DeadlineExceeded {
		t.Errorf("got %+v, want 1 replica and nothing else", got)
	}
}

func entry(manager string, at int64, fields string) metav1.ManagedFieldsEntry {
	when := metav1.Unix(at, 0)
	return metav1.ManagedFieldsEntry{Manager: manager, Time: &when, FieldsV1: metav1.NewFieldsV1(fields)}
}

func TestSetBy(t *testing.T) {
	const weight, both = `{"f:metadata":{"f:annotations":{"f:grayscale.dev/weight":{}}}}`,
		`{"f:metadata":{"f:annotations":{".":{},"f:grayscale.dev/version":{},"f:grayscale.dev/weight":{},"f:team":{}}}}`
	for _, c := range []struct {
		what    string
		entries []metav1.ManagedFieldsEntry
		want    map[string]string
	}{
		{"nobody", nil, nil},
		{"no annotation of ours", []metav1.ManagedFieldsEntry{entry("kubectl", 1, `{"f:spec":{"f:replicas":{}}}`)}, nil},
		{"the latest of two", []metav1.ManagedFieldsEntry{entry("argocd", 9, weight), entry("kubectl", 1, both)},
			map[string]string{"grayscale.dev/weight": "argocd", "grayscale.dev/version": "kubectl"}},
		{"ours alone", []metav1.ManagedFieldsEntry{entry("grayscale", 1, both)},
			map[string]string{"grayscale.dev/weight": "grayscale", "grayscale.dev/version": "grayscale"}},
		{"ours and a user's, earlier", []metav1.ManagedFieldsEntry{entry("kubectl", 1, weight), entry("grayscale", 9, weight)},
			map[string]string{"grayscale.dev/weight": "kubectl"}},
	} {
		if got := SetBy(c.entries); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}

func TestService(t *testing.T) {
	grpc := "kubernetes.io/h2c"
	s := &corev1.Service{}
	s.Namespace, s.Name, s.UID = "shop", "web", "u"
	s.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, ClusterIP: "None", Selector: map[string]string{"app": "web"},
		Ports: []corev1.ServicePort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}, {Name: "api", Port: 90, AppProtocol: &grpc}}}
	want := release.Service{Namespace: "shop", Name: "web", UID: "u", Selector: map[string]string{"app": "web"}, Headless: true,
		Ports: []release.Port{{Name: "http", Number: 80, Protocol: "TCP"}, {Name: "api", Number: 90, AppProtocol: grpc}}}
	if got := Service(s); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got := Service(&corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName}}); !got.ExternalName || got.Headless {
		t.Errorf("an ExternalName Service is %+v", got)
	}
}

func TestServiceExportTo(t *testing.T) {
	for annotation, want := range map[string][]string{
		"": nil, "*": nil, "bank, *": nil, "~, *": nil, ".": {"."}, "shop": {"."}, "shop,.": {"."}, " bank , .,bank": {".", "bank"},
		"~": {"~"}, "~, bank": {"~"}, "No_Namespace": {"~"}, "No_Namespace, bank": {"bank"}, ",": {"~"},
	} {
		s := &corev1.Service{}
		s.Namespace, s.Annotations = "shop", map[string]string{"networking.istio.io/exportTo": annotation}
		if got := Service(s).ExportTo; !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %q, want %q", annotation, got, want)
		}
	}
}
