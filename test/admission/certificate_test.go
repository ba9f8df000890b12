package admission

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/release"
	"grayscale.dev/grayscale/test/harness"
	"grayscale.dev/grayscale/webhook"
	"grayscale.dev/grayscale/webhook/certs"
)

const (
	service       = "grayscale-webhook"
	secret        = "grayscale-webhook-certificate"
	configuration = "certificate-test"
)

// configurations makes a mutating and a validating webhook configuration that match nothing, with two webhooks each.
func configurations(t *testing.T, ns string) {
	t.Helper()
	client, ctx := harness.Kube().AdmissionregistrationV1(), context.Background()
	to := admissionregistrationv1.WebhookClientConfig{Service: &admissionregistrationv1.ServiceReference{Namespace: ns, Name: service}}
	none := admissionregistrationv1.SideEffectClassNone
	mutating := &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: configuration}}
	validating := &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: configuration}}
	for _, name := range []string{"a.certificate.test", "b.certificate.test"} {
		mutating.Webhooks = append(mutating.Webhooks, admissionregistrationv1.MutatingWebhook{
			Name: name, ClientConfig: to, SideEffects: &none, AdmissionReviewVersions: []string{"v1"}})
		validating.Webhooks = append(validating.Webhooks, admissionregistrationv1.ValidatingWebhook{
			Name: name, ClientConfig: to, SideEffects: &none, AdmissionReviewVersions: []string{"v1"}})
	}
	if _, err := client.MutatingWebhookConfigurations().Create(ctx, mutating, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.MutatingWebhookConfigurations().Delete(ctx, configuration, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	if _, err := client.ValidatingWebhookConfigurations().Create(ctx, validating, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.ValidatingWebhookConfigurations().Delete(ctx, configuration, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// bundles are the CAs that the API server trusts, one per webhook.
func bundles(t *testing.T) [][]byte {
	t.Helper()
	client, ctx := harness.Kube().AdmissionregistrationV1(), context.Background()
	mutating, err := client.MutatingWebhookConfigurations().Get(ctx, configuration, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	validating, err := client.ValidatingWebhookConfigurations().Get(ctx, configuration, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for i := range mutating.Webhooks {
		out = append(out, mutating.Webhooks[i].ClientConfig.CABundle, validating.Webhooks[i].ClientConfig.CABundle)
	}
	return out
}

// idle does nothing: these replicas only serve a certificate, and have neither controller nor caches.
type idle struct{}

func (idle) Services(context.Context, string, release.Deployment) ([]release.Service, error) {
	return nil, nil
}
func (idle) Facts(context.Context, string, string) (routing.Facts, error) {
	return routing.Facts{}, nil
}

func (idle) Drain(context.Context, string, string) error { return nil }
func (idle) Precede(context.Context, *networkingv1.DestinationRule, *networkingv1.DestinationRule) error {
	return nil
}
func (idle) PrepareUninstall(context.Context) error { return nil }

// replica runs a webhook server until the returned function, or the test's end, stops it.
func replica(t *testing.T, ns string) (address string, stop func()) {
	t.Helper()
	port := freePort(t)
	certificate := certs.NewSelfManaged(certs.Options{Namespace: ns, Service: service, Secret: secret, Configuration: configuration})
	mgr, err := manager.New(harness.Config(), manager.Options{
		Metrics: server.Options{BindAddress: "0"}, GracefulShutdownTimeout: ptr.To(5 * time.Second),
		WebhookServer: webhook.NewServer(ctrlwebhook.Options{Host: "127.0.0.1", Port: port, TLSOpts: []func(*tls.Config){certificate.TLS}}, configuration),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(webhook.Setup(mgr, idle{}, idle{}, routing.Settings{}), certificate.AddTo(mgr)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("a replica: %v", err)
		}
	}
	t.Cleanup(stop)
	return fmt.Sprintf("127.0.0.1:%d", port), stop
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // the port is free again either way
	return l.Addr().(*net.TCPAddr).Port
}

// handshake does what the API server does: it trusts one bundle, and asks for the Service's name.
func handshake(address, ns string, bundle []byte) (serial string, err error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		return "", fmt.Errorf("no CA in the bundle %q", bundle)
	}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: time.Second}, "tcp", address, &tls.Config{RootCAs: roots, ServerName: service + "." + ns + ".svc"})
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }() // the handshake is all that is wanted
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
}

// served waits until a replica serves a certificate that every webhook's bundle trusts, and names it.
func served(t *testing.T, address, ns string) string {
	t.Helper()
	serial := ""
	harness.Eventually(t, "a trusted certificate at "+address, func() error {
		for _, bundle := range bundles(t) {
			got, err := handshake(address, ns, bundle)
			if err != nil {
				return err
			}
			serial = got
		}
		return nil
	})
	return serial
}

// Replicas that start together serve one certificate, and the API server trusts it, whichever came first; one that
// starts later takes it over.
func TestReplicasShareOneCertificate(t *testing.T) {
	ns := harness.Namespace(t)
	configurations(t, ns)
	addresses := make([]string, 3)
	for i := range addresses {
		addresses[i], _ = replica(t, ns)
	}
	first := served(t, addresses[0], ns)
	for _, address := range addresses[1:] {
		if got := served(t, address, ns); got != first {
			t.Errorf("%s serves %s, %s serves %s", addresses[0], first, address, got)
		}
	}
	late, _ := replica(t, ns)
	if got := served(t, late, ns); got != first {
		t.Errorf("a late replica serves %s, not %s", got, first)
	}
	if _, err := handshake(late, "elsewhere", bundles(t)[0]); err == nil {
		t.Error("the certificate serves other Services' names")
	}
}

// A damaged Secret is replaced at the next start. Bundles that a manifest emptied are filled, at the start and while
// replicas run.
func TestDamagedCertificateIsMadeAnew(t *testing.T) {
	ns := harness.Namespace(t)
	configurations(t, ns)
	address, stop := replica(t, ns)
	before := served(t, address, ns)
	stop()

	secrets, ctx := harness.Kube().CoreV1().Secrets(ns), context.Background()
	s, err := secrets.Get(ctx, secret, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey, "ca.crt"} {
		if len(s.Data[key]) == 0 {
			t.Errorf("the Secret has no %s", key)
		}
	}
	s.Data[corev1.TLSCertKey] = bytes.ToUpper(s.Data[corev1.TLSCertKey])
	if _, err := secrets.Update(ctx, s, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	untrust(t)
	address, _ = replica(t, ns)
	after := served(t, address, ns)
	if after == before {
		t.Errorf("it still serves %s", after)
	}
	untrust(t)
	if got := served(t, address, ns); got != after {
		t.Errorf("a bundle that was emptied costs the certificate: it serves %s, not %s", got, after)
	}
}

// untrust empties one bundle.
func untrust(t *testing.T) {
	t.Helper()
	client, ctx := harness.Kube().AdmissionregistrationV1().ValidatingWebhookConfigurations(), context.Background()
	c, err := client.Get(ctx, configuration, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.Webhooks[1].ClientConfig.CABundle = nil
	if _, err := client.Update(ctx, c, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}
