// Package certificates makes the API server call grayscale's webhook a hundred times per second, with failurePolicy
// Fail, while the webhook's certificate and its CA change. No request may fail.
package certificates

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/test/harness"
)

const (
	system        = "grayscale-system"
	service       = "grayscale-webhook"
	configuration = "grayscale"
	host          = service + "." + system + ".svc" // the name that the API server verifies
)

func TestMain(m *testing.M) {
	os.Exit(harness.Main(m, harness.Options{}))
}

// install installs three replicas with Helm until the test ends. The API server waits longer than by default: the test
// is about trust, not about the speed of a machine busy with builds.
func install(t *testing.T, args ...string) {
	t.Helper()
	harness.UseProduct(t)
	args = append([]string{"install", "grayscale", filepath.Join("..", "..", "manifests", "chart"), "-n", system, "--create-namespace",
		"--set", "replicas=3", "--set", "webhook.failurePolicy=Fail", "--set", "webhook.timeoutSeconds=20"}, args...)
	harness.Helm(t, args...)
	t.Cleanup(func() {
		harness.Helm(t, "uninstall", "grayscale", "-n", system, "--wait")
		harness.Kubectl(t, "", "delete", "namespace", system, "--wait") // the next test creates it again
	})
	harness.WaitReady(t, system, "grayscale")
}

// scale sets the number of replicas, and waits for none of them.
func scale(t *testing.T, replicas int) {
	t.Helper()
	change(t, fmt.Sprintf(`{"spec": {"replicas": %d}}`, replicas))
}

// restart replaces every replica by a new one, as an update of grayscale does, and waits for none of them.
func restart(t *testing.T) {
	t.Helper()
	change(t, fmt.Sprintf(`{"spec": {"template": {"metadata": {"annotations": {"restarted": %q}}}}}`, time.Now().Format(time.RFC3339Nano)))
}

func change(t *testing.T, patch string) {
	t.Helper()
	_, err := harness.Kube().AppsV1().Deployments(system).Patch(context.Background(), "grayscale", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// get reads a Secret of grayscale's namespace.
func get(t *testing.T, secret string) *corev1.Secret {
	t.Helper()
	s, err := harness.Kube().CoreV1().Secrets(system).Get(context.Background(), secret, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// replicas are the addresses of the webhook in all replicas that the API server may ask.
func replicas() ([]string, error) {
	list, err := harness.Kube().CoreV1().Pods(system).List(context.Background(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=grayscale"})
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range list.Items {
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue && p.DeletionTimestamp == nil {
				out = append(out, "127"+strings.TrimPrefix(p.Status.PodIP, "10")+":9443") // where the lab's Pods listen
			}
		}
	}
	if len(out) == 0 {
		return nil, errors.New("no replica is ready")
	}
	return out, nil
}

// allServe fails until every replica serves the Secret's certificate, and a bundle trusts it.
func allServe(s *corev1.Secret, bundle []byte) error {
	pair, err := tls.X509KeyPair(s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return err
	}
	addresses, err := replicas()
	if err != nil {
		return err
	}
	for _, address := range addresses {
		if err := serves(address, pair.Leaf, bundle); err != nil {
			return fmt.Errorf("%s: %w", address, err)
		}
	}
	return nil
}

// serves does what the API server does: it trusts the bundle, and asks for the Service's name.
func serves(address string, leaf *x509.Certificate, bundle []byte) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: time.Second}, "tcp", address, &tls.Config{RootCAs: roots, ServerName: host})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // the handshake is all that is wanted
	if got := conn.ConnectionState().PeerCertificates[0]; !got.Equal(leaf) {
		return fmt.Errorf("it serves %x, not %x", got.SerialNumber, leaf.SerialNumber)
	}
	return nil
}

// bundles are the CAs that the API server trusts, by webhook.
func bundles() (map[string][]byte, error) {
	client, ctx := harness.Kube().AdmissionregistrationV1(), context.Background()
	mutating, err := client.MutatingWebhookConfigurations().Get(ctx, configuration, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	validating, err := client.ValidatingWebhookConfigurations().Get(ctx, configuration, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for _, w := range mutating.Webhooks {
		out[w.Name] = w.ClientConfig.CABundle
	}
	for _, w := range validating.Webhooks {
		out[w.Name] = w.ClientConfig.CABundle
	}
	return out, nil
}

// soon is harness.Eventually for many waits of a few milliseconds. Each check makes a handshake with every replica:
// more frequent checks would take the CPU time from the replicas.
func soon(t *testing.T, what string, check func() error) {
	t.Helper()
	limit := time.Now().Add(harness.Patience)
	err := check()
	for ; err != nil && time.Now().Before(limit); err = check() {
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		t.Fatalf("%s: not within %s: %v", what, harness.Patience, err)
	}
}
