package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http/httptest"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/test/yardstick"
)

// large is a Deployment as large as real ones get.
func large(t testing.TB, annotations map[string]string, change ...func(*appsv1.Deployment)) appsv1.Deployment {
	return yardstick.Grow(t, web("web-v2", annotations, change...))
}

// BenchmarkHandler measures one request in the handler: reading the Deployment's 10 KB (twice as much on UPDATE),
// deciding, and making the patch. test/scale measures what real caches add to that, in an empty and in a crowded
// namespace.
func BenchmarkHandler(b *testing.B) {
	created := request(b, large(b, canary()), nil)
	annotated := request(b, large(b, canary(intent.KeyWeight, "20"), labelled("v2")), ptr(large(b, canary(intent.KeyWeight, "10"), labelled("v2"))))
	reapplied := request(b, large(b, canary(intent.KeyWeight, "10")), ptr(large(b, canary(intent.KeyWeight, "10"), labelled("v2"))))
	for _, bm := range []struct {
		name    string
		handler admission.Handler
		req     admission.Request
	}{
		{"mutate/create", mutating{admitter{known(), defaults}}, created},
		{"mutate/annotate", mutating{admitter{pinnedToStable(), defaults}}, annotated},
		{"mutate/reapply", mutating{admitter{pinnedToStable(), defaults}}, reapplied},
		{"validate/create", validating{admitter{known(), defaults}}, created},
		{"validate/annotate", validating{admitter{pinnedToStable(), defaults}}, annotated},
	} {
		b.Run(bm.name, func(b *testing.B) {
			yardstick.Compare(b, func() {
				if r := bm.handler.Handle(context.Background(), bm.req); !r.Allowed {
					b.Fatal(r.Result)
				}
			})
		})
	}
}

// BenchmarkServe measures a whole HTTP request without network and TLS: it includes decoding the AdmissionReview and
// encoding the answer.
func BenchmarkServe(b *testing.B) {
	req := request(b, large(b, canary()), nil)
	review := admissionv1.AdmissionReview{Request: &req.AdmissionRequest}
	review.SetGroupVersionKind(schema.GroupVersionKind{Group: "admission.k8s.io", Version: "v1", Kind: "AdmissionReview"})
	body, err := json.Marshal(review)
	if err != nil {
		b.Fatal(err)
	}
	hook := &admission.Webhook{Handler: mutating{admitter{known(), defaults}}}
	yardstick.Compare(b, func() {
		r := httptest.NewRequest("POST", MutatePath, bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		hook.ServeHTTP(w, r)
		if !bytes.Contains(w.Body.Bytes(), []byte(`"patch"`)) {
			b.Fatal(w.Body)
		}
	})
}
