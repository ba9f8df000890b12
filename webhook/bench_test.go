package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"grayscale.dev/grayscale/routing/intent"
)

// tenKB is a Deployment of about 10 KB of JSON, made as large as users make them: by containers with environments.
func tenKB(t testing.TB, annotations map[string]string, change ...func(*appsv1.Deployment)) appsv1.Deployment {
	d := web("web-v2", annotations, change...)
	for c := 0; len(encoded(t, d)) < 10<<10; c++ {
		container := corev1.Container{Name: fmt.Sprintf("sidecar-%d", c), Image: fmt.Sprintf("registry.example/team/sidecar-%d:1.2.3", c)}
		for e := range 12 {
			container.Env = append(container.Env, corev1.EnvVar{Name: fmt.Sprintf("SETTING_%d", e), Value: "some value of a setting, as they are"})
		}
		container.Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: 8080, Protocol: corev1.ProtocolTCP}}
		d.Spec.Template.Spec.Containers = append(d.Spec.Template.Spec.Containers, container)
	}
	return d
}

// crowd is a namespace with a release under way and forty Deployments and Services of others.
func crowd() memory {
	m := pinnedToStable()
	for i := range 40 {
		name := fmt.Sprintf("other-%d", i)
		labels := map[string]string{"app": name}
		d := web(name, nil)
		d.Spec.Selector.MatchLabels, d.Spec.Template.Labels = labels, labels
		m.deployments = append(m.deployments, d)
		m.services = append(m.services, corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: name},
			Spec: corev1.ServiceSpec{Selector: labels, Ports: []corev1.ServicePort{{Name: "http", Port: 80}}}})
	}
	return m
}

// BenchmarkHandler is what one question costs in the handler: reading the Deployment's 10 KB (twice as much on UPDATE),
// deciding, and the patch.
func BenchmarkHandler(b *testing.B) {
	created := request(b, tenKB(b, canary()), nil)
	annotated := request(b, tenKB(b, canary(intent.KeyWeight, "20"), labelled("v2")), ptr(tenKB(b, canary(intent.KeyWeight, "10"), labelled("v2"))))
	reapplied := request(b, tenKB(b, canary(intent.KeyWeight, "10")), ptr(tenKB(b, canary(intent.KeyWeight, "10"), labelled("v2"))))
	for _, bm := range []struct {
		name    string
		handler admission.Handler
		req     admission.Request
	}{
		{"mutate/create", mutating{admitter{known(), defaults}}, created},
		{"mutate/annotate", mutating{admitter{pinnedToStable(), defaults}}, annotated},
		{"mutate/reapply", mutating{admitter{pinnedToStable(), defaults}}, reapplied},
		{"mutate/crowded", mutating{admitter{crowd(), defaults}}, annotated},
		{"validate/create", validating{admitter{known(), defaults}}, created},
		{"validate/annotate", validating{admitter{pinnedToStable(), defaults}}, annotated},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if r := bm.handler.Handle(context.Background(), bm.req); !r.Allowed {
					b.Fatal(r.Result)
				}
			}
		})
	}
}

// BenchmarkServe is the whole of an HTTP request but for the network and TLS: the AdmissionReview is decoded, and the
// answer encoded.
func BenchmarkServe(b *testing.B) {
	req := request(b, tenKB(b, canary()), nil)
	review := admissionv1.AdmissionReview{Request: &req.AdmissionRequest}
	review.SetGroupVersionKind(schema.GroupVersionKind{Group: "admission.k8s.io", Version: "v1", Kind: "AdmissionReview"})
	body, err := json.Marshal(review)
	if err != nil {
		b.Fatal(err)
	}
	hook := &admission.Webhook{Handler: mutating{admitter{known(), defaults}}}
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest("POST", MutatePath, bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		hook.ServeHTTP(w, r)
		if !bytes.Contains(w.Body.Bytes(), []byte(`"patch"`)) {
			b.Fatal(w.Body)
		}
	}
}
