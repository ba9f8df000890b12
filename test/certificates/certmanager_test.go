package certificates

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/test/harness"
)

// Names of the Certificates of the chart, and of their Secrets.
const (
	leaf, leafSecret       = "grayscale-webhook", "grayscale-webhook-tls"
	authority, authorityCA = "grayscale-webhook-ca", "grayscale-webhook-ca"
)

// cert-manager's own controllers renew the serving certificate, and sometimes the CA, as after `cmctl renew`.
func TestCertManagerRenewals(t *testing.T) {
	harness.CertManager(t)
	install(t, "--set", "webhook.certificate.mode=cert-manager")
	harness.Eventually(t, "the cainjector", injected(t))
	load := admit(t)
	const renewals = 12
	for n := range renewals {
		if n%5 == 2 {
			renewed(t, authority, authorityCA)
		}
		if size := []int{4, 2, 3}; n%6 == 3 {
			scale(t, size[n/6%len(size)])
		}
		renewed(t, leaf, leafSecret)
		harness.Eventually(t, fmt.Sprintf("renewal %d", n), func() error {
			s := get(t, leafSecret)
			return allServe(s, s.Data["ca.crt"])
		})
		harness.Eventually(t, "the cainjector", injected(t))
		load.settled()
		if load.failed() {
			t.Fatalf("after renewal %d a request has failed", n)
		}
	}
	load.end(t)
}

// injected fails until every webhook has the CA that has signed what is served; cainjector keeps earlier ones as well.
func injected(t *testing.T) func() error {
	return func() error {
		want := get(t, leafSecret).Data["ca.crt"]
		if len(want) == 0 {
			return errors.New("there is no CA yet")
		}
		trusted, err := bundles()
		for webhook, got := range trusted {
			if !bytes.Contains(got, want) {
				return fmt.Errorf("%s lacks the CA", webhook)
			}
		}
		return err
	}
}

// renewed asks for a renewal by the condition that cert-manager's own tool sets, and waits for it.
func renewed(t *testing.T, certificate, secret string) {
	t.Helper()
	before := get(t, secret).Data[corev1.TLSCertKey]
	path := fmt.Sprintf("/apis/cert-manager.io/v1/namespaces/%s/certificates/%s/status", system, certificate)
	harness.Eventually(t, "asking for a renewal of "+certificate, func() error {
		// This condition replaces the whole list: cert-manager sets the missing ones again.
		return harness.Kube().Discovery().RESTClient().Patch(types.MergePatchType).AbsPath(path).Body(fmt.Appendf(nil,
			`{"status": {"conditions": [{"type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "by a test", "lastTransitionTime": %q}]}}`,
			metav1.Now().UTC().Format("2006-01-02T15:04:05Z"))).Do(context.Background()).Error()
	})
	harness.Eventually(t, "the renewal of "+certificate, func() error {
		if bytes.Equal(get(t, secret).Data[corev1.TLSCertKey], before) {
			return errors.New("the certificate is the one it was")
		}
		return nil
	})
}
