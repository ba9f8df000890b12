package certs

import (
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// An uninstallation is remembered after its sign is deleted, whatever is deleted first.
func TestUninstalling(t *testing.T) {
	full := &admissionregistrationv1.MutatingWebhookConfiguration{Webhooks: make([]admissionregistrationv1.MutatingWebhook, 1)}
	empty := &admissionregistrationv1.MutatingWebhookConfiguration{}
	other := &admissionregistrationv1.ValidatingWebhookConfiguration{Webhooks: make([]admissionregistrationv1.ValidatingWebhook, 3)}
	known := false
	for i, c := range []struct {
		configurations []client.Object
		want           bool
	}{
		{nil, false}, // an administrator may run the controller without webhooks
		{[]client.Object{other}, false},
		{[]client.Object{full, other}, false},
		{[]client.Object{empty, other}, true},
		{[]client.Object{other}, true}, // Argo CD deletes both at once
		{nil, true},
		{[]client.Object{full, other}, false}, // installed again
		{[]client.Object{other}, false},
	} {
		if known = uninstalling(c.configurations, known); known != c.want {
			t.Errorf("step %d: uninstalling is %t, want %t", i, known, c.want)
		}
	}
}
