package webhook

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

var (
	day   = time.Date(2026, 8, 1, 10, 0, 0, 0, time.UTC)
	names = hosts("grayscale-system", "grayscale-webhook")
)

func issued(t *testing.T, at time.Time, trusted []byte) map[string][]byte {
	t.Helper()
	data, err := issue(names, at, trusted)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// verify is what the API server does with the serving certificate and a caBundle.
func verify(t *testing.T, data map[string][]byte, bundle []byte, host string, at time.Time) error {
	t.Helper()
	pair, err := tls.X509KeyPair(data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	_, err = pair.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, CurrentTime: at})
	return err
}

func TestIssuedIsTrustedForTheService(t *testing.T) {
	data := issued(t, day, nil)
	for _, host := range names {
		if err := verify(t, data, data[caKey], host, day); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if names[0] != "grayscale-webhook.grayscale-system.svc" {
		t.Errorf("the API server asks for another name than %s", names[0])
	}
	if err := verify(t, data, data[caKey], "grayscale-webhook.elsewhere.svc", day); err == nil {
		t.Error("it serves another namespace's Service as well")
	}
	if err := verify(t, data, data[caKey], names[0], day.Add(-leeway/2)); err != nil {
		t.Errorf("a clock that is behind: %v", err)
	}
	if err := verify(t, data, data[caKey], names[0], day.Add(lifetime+time.Second)); err == nil {
		t.Error("it never expires")
	}
	pair, _ := tls.X509KeyPair(data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey])
	if pair.Leaf.IsCA || pair.Leaf.KeyUsage&x509.KeyUsageCertSign != 0 {
		t.Error("the serving certificate can sign others")
	}
}

func TestUsable(t *testing.T) {
	good, other := issued(t, day, nil), issued(t, day, nil)
	with := func(key string, value []byte) map[string][]byte {
		data := map[string][]byte{}
		for k, v := range good {
			data[k] = v
		}
		data[key] = value
		return data
	}
	tests := map[string]struct {
		data map[string][]byte
		host string
		at   time.Time
		want bool
	}{
		"fresh":                       {good, names[0], day, true},
		"with a while left":           {good, names[0], day.Add(lifetime - renewal - time.Minute), true},
		"about to expire":             {good, names[0], day.Add(lifetime - renewal + time.Minute), false},
		"for another Service":         {good, "other.grayscale-system.svc", day, false},
		"absent":                      {nil, names[0], day, false},
		"with another key":            {with(corev1.TLSPrivateKeyKey, other[corev1.TLSPrivateKeyKey]), names[0], day, false},
		"with another CA":             {with(caKey, other[caKey]), names[0], day, false},
		"with a CA that is no PEM":    {with(caKey, []byte("none")), names[0], day, false},
		"with a certificate cut off":  {with(corev1.TLSCertKey, good[corev1.TLSCertKey][:100]), names[0], day, false},
		"with the CA among other CAs": {with(caKey, append(bytes.Clone(other[caKey]), good[caKey]...)), names[0], day, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if err := usable(tt.data, tt.host, tt.at); (err == nil) != tt.want {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A new certificate comes with a new CA; the old one is trusted as long as replicas may serve with what it signed.
func TestIssueKeepsTrustInWhatIsStillServed(t *testing.T) {
	old := issued(t, day, nil)
	later := day.Add(lifetime - renewal)
	renewed := issued(t, later, old[caKey])
	for name, data := range map[string]map[string][]byte{"old": old, "new": renewed} {
		if err := verify(t, data, renewed[caKey], names[0], later); err != nil {
			t.Errorf("the %s certificate: %v", name, err)
		}
	}
	last := issued(t, day.Add(lifetime+time.Minute), renewed[caKey])
	if bytes.Contains(last[caKey], old[caKey]) {
		t.Error("a CA that has expired stays in the bundle")
	}
	if !bytes.Contains(last[caKey], renewed[caKey][:200]) {
		t.Error("a CA that is valid has left the bundle")
	}
	if damaged := issued(t, day, []byte("none")); usable(damaged, names[0], day) != nil {
		t.Error("a damaged bundle spoils the new one")
	}
}

// Until the first certificate there is none to serve with, and the replica is not ready.
func TestNotReadyWithoutCertificate(t *testing.T) {
	c := NewCertificate(CertificateOptions{})
	config := &tls.Config{}
	c.TLS(config)
	if _, err := config.GetCertificate(nil); err == nil || c.Ready(nil) == nil {
		t.Error("it serves with nothing")
	}
	if config.MinVersion < tls.VersionTLS12 {
		t.Errorf("it takes TLS version %x", config.MinVersion)
	}
	c.current.Store(&tls.Certificate{})
	if _, err := config.GetCertificate(nil); err != nil || c.Ready(nil) != nil {
		t.Error("it does not serve with what it has")
	}
}
