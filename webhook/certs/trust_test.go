package certs

import (
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The end of grayscale is remembered when the sign of it goes, whatever is deleted first.
func TestRetired(t *testing.T) {
	full := &admissionregistrationv1.MutatingWebhookConfiguration{Webhooks: make([]admissionregistrationv1.MutatingWebhook, 1)}
	empty := &admissionregistrationv1.MutatingWebhookConfiguration{}
	other := &admissionregistrationv1.ValidatingWebhookConfiguration{Webhooks: make([]admissionregistrationv1.ValidatingWebhook, 3)}
	known := false
	for i, c := range []struct {
		configurations []client.Object
		want           bool
	}{
		{nil, false}, // an administrator may run the controller without
		{[]client.Object{other}, false},
		{[]client.Object{full, other}, false},
		{[]client.Object{empty, other}, true},
		{[]client.Object{other}, true}, // Argo CD deletes both at once
		{nil, true},
		{[]client.Object{full, other}, false}, // installed again
		{[]client.Object{other}, false},
	} {
		if known = retired(c.configurations, known); known != c.want {
			t.Errorf("step %d: retired is %t, want %t", i, known, c.want)
		}
	}
}
