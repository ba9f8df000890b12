package certificates

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/test/harness"
)

const mounted = "platform-tls"

// A platform team that keeps the Secret itself changes the CA in three steps, as docs/install.md says: it has both
// trusted, then puts the new certificate into the Secret, then takes the old CA away.
func TestMountedCertificates(t *testing.T) {
	harness.Kubectl(t, "", "create", "namespace", system)
	old := harness.NewAuthority(t)
	certificate, key := old.Issue(t, host)
	secrets, ctx := harness.Kube().CoreV1().Secrets(system), context.Background()
	if _, err := secrets.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: mounted}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: certificate, corev1.TLSPrivateKeyKey: key}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	install(t, "--set", "webhook.certificate.mode=mounted", "--set", "webhook.certificate.secretName="+mounted,
		"--set-file", "webhook.certificate.caBundle="+file(t, old.PEM))
	load := admit(t)
	for n := range 3 {
		next := harness.NewAuthority(t)
		trust(t, slices.Concat(old.PEM, next.PEM))
		load.settled()
		s := get(t, mounted)
		s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey] = next.Issue(t, host)
		if _, err := secrets.Update(ctx, s, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		harness.Eventually(t, fmt.Sprintf("change %d", n), func() error { return allServe(s, next.PEM) })
		trust(t, next.PEM)
		load.settled()
		old = next
	}
	load.end(t)
}

func file(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// trust upgrades the release to another bundle, as a platform team would.
func trust(t *testing.T, bundle []byte) {
	t.Helper()
	harness.Helm(t, "upgrade", "grayscale", filepath.Join("..", "..", "manifests", "chart"), "-n", system, "--reuse-values",
		"--set-file", "webhook.certificate.caBundle="+file(t, bundle))
}
