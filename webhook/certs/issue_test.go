package certs

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

const year = 365 * 24 * time.Hour

func issued(t *testing.T, at time.Time) *pair {
	t.Helper()
	p, err := issue(names, at, year)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func written(t *testing.T, s contents) map[string][]byte {
	t.Helper()
	data, err := s.write()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// verify is what the API server does with the serving certificate and the CAs of a webhook configuration.
func verify(served *x509.Certificate, cas []*x509.Certificate, host string, at time.Time) error {
	roots := x509.NewCertPool()
	for _, ca := range cas {
		roots.AddCert(ca)
	}
	_, err := served.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, CurrentTime: at})
	return err
}

func TestIssuedIsTrustedForTheService(t *testing.T) {
	p := issued(t, day)
	cas, leaf := []*x509.Certificate{p.ca}, p.serving.Leaf
	for _, host := range names {
		if err := verify(leaf, cas, host, day); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if names[0] != "grayscale-webhook.grayscale-system.svc" {
		t.Errorf("the API server asks for another name than %s", names[0])
	}
	if err := verify(leaf, cas, "grayscale-webhook.elsewhere.svc", day); err == nil {
		t.Error("it serves another namespace's Service as well")
	}
	if err := verify(leaf, cas, names[0], day.Add(-year/4+time.Minute)); err != nil {
		t.Errorf("a clock that is behind: %v", err)
	}
	if err := verify(leaf, cas, names[0], day.Add(year*3/4+time.Second)); err == nil {
		t.Error("it never expires")
	}
	if leaf.IsCA || leaf.KeyUsage&x509.KeyUsageCertSign != 0 {
		t.Error("the serving certificate can sign others")
	}
}

func TestReadPair(t *testing.T) {
	good, other := issued(t, day), issued(t, day)
	cas := []*x509.Certificate{other.ca, good.ca}
	tests := map[string]struct {
		certificate, key []byte
		cas              []*x509.Certificate
		host             string
		at               time.Time
		want             bool
	}{
		"fresh":                     {good.certificate, good.key, cas, names[0], day, true},
		"with little time left":     {good.certificate, good.key, cas, names[0], day.Add(year*3/4 - time.Minute), true},
		"expired":                   {good.certificate, good.key, cas, names[0], day.Add(year * 3 / 4).Add(time.Minute), false},
		"by a clock far behind":     {good.certificate, good.key, cas, names[0], day.Add(-year), true},
		"for another Service":       {good.certificate, good.key, cas, "other.grayscale-system.svc", day, false},
		"absent":                    {nil, nil, cas, names[0], day, false},
		"with another key":          {good.certificate, other.key, cas, names[0], day, false},
		"with another CA":           {good.certificate, good.key, cas[:1], names[0], day, false},
		"without a CA":              {good.certificate, good.key, nil, names[0], day, false},
		"with a certificate cut":    {good.certificate[:100], good.key, cas, names[0], day, false},
		"with a key that is no PEM": {good.certificate, []byte("none"), cas, names[0], day, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, err := readPair(tt.certificate, tt.key, tt.cas, tt.host, tt.at)
			if (err == nil) != tt.want {
				t.Fatalf("got %v", err)
			}
			if p != nil && !p.ca.Equal(good.ca) {
				t.Error("it names another CA than the one that has signed it")
			}
		})
	}
}

func TestBundle(t *testing.T) {
	a, b := issued(t, day).ca, issued(t, day).ca
	bundle, err := writeBundle([]*x509.Certificate{a, b, a})
	if err != nil {
		t.Fatal(err)
	}
	if got := readBundle(bundle); len(got) != 2 || !got[0].Equal(a) || !got[1].Equal(b) {
		t.Errorf("%d CAs are read of the two that were written", len(got))
	}
	damaged := bytes.Replace(bundle, []byte("MII"), []byte("AAA"), 1)
	if got := readBundle(damaged); len(got) != 1 || !got[0].Equal(b) {
		t.Errorf("a damaged CA costs the other: %d are read", len(got))
	}
	if got := readBundle([]byte("none")); len(got) != 0 {
		t.Errorf("%d CAs are read of none", len(got))
	}
}

// Until there is a certificate, the replica cannot serve and is not ready.
func TestNotReadyWithoutCertificate(t *testing.T) {
	now := day
	s := &served{now: func() time.Time { return now }}
	config := &tls.Config{}
	s.TLS(config)
	if _, err := config.GetCertificate(nil); err == nil || s.Ready(nil) == nil {
		t.Error("it serves with nothing")
	}
	if config.MinVersion < tls.VersionTLS12 {
		t.Errorf("it takes TLS version %x", config.MinVersion)
	}
	s.current.Store(issued(t, day).serving)
	if _, err := config.GetCertificate(nil); err != nil || s.Ready(nil) != nil {
		t.Error("it does not serve with what it has")
	}
	if now = day.Add(year); s.Ready(nil) == nil {
		t.Error("it is ready with a certificate that has expired")
	}
}

// The Secret of grayscale 0.1 has one certificate and a bundle. It is still served.
func TestSecretWithoutNextCertificate(t *testing.T) {
	r := rotation{names: names, lifetime: year}
	p := issued(t, day)
	bundle, err := writeBundle([]*x509.Certificate{p.ca})
	if err != nil {
		t.Fatal(err)
	}
	s := r.read(map[string][]byte{corev1.TLSCertKey: p.certificate, corev1.TLSPrivateKeyKey: p.key, caKey: bundle}, day)
	after, why, err := r.step(s, view{}, day)
	if err != nil || why == "" || after.next == nil || !after.current.serving.Leaf.Equal(p.serving.Leaf) {
		t.Errorf("%q %v", why, err)
	}
}
