package certs

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/cert-manager/cert-manager/pkg/util/pki"
)

// pair is a serving certificate with its key, as the Secret has them, and the CA that signed it.
type pair struct {
	certificate, key []byte
	ca               *x509.Certificate
	serving          *tls.Certificate
}

// expires is when the certificate expires.
func (p *pair) expires() time.Time { return p.serving.Leaf.NotAfter }

// hosts are the names of the webhook's Service in the cluster. The API server verifies the first.
func hosts(namespace, service string) []string {
	name := service + "." + namespace
	return []string{name + ".svc", name, service}
}

// readPair makes a pair from a Secret's contents. The key has to match the certificate, one of the CAs has to have
// signed the certificate for the host, and it must not have expired. A certificate that is not valid yet is accepted,
// because the clock of the replica that issued it may be ahead; the API server checks it by its own clock.
func readPair(certificate, key []byte, cas []*x509.Certificate, host string, now time.Time) (*pair, error) {
	serving, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	for _, ca := range cas {
		roots.AddCert(ca)
	}
	at := now
	if at.Before(serving.Leaf.NotBefore) {
		at = serving.Leaf.NotBefore
	}
	chains, err := serving.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, CurrentTime: at})
	if err != nil {
		return nil, err
	}
	ca := chains[0][len(chains[0])-1]
	return &pair{certificate: certificate, key: key, ca: ca, serving: &serving}, nil
}

// issue makes a CA and a serving certificate signed by it. The CA's key is not kept, so nobody can sign with it later;
// the next certificate gets a CA of its own. A quarter of the lifetime lies in the past, for clocks that are behind.
func issue(names []string, now time.Time, lifetime time.Duration) (*pair, error) {
	signer, err := pki.GenerateECPrivateKey(pki.ECCurve256)
	if err != nil {
		return nil, err
	}
	ca, err := template("grayscale webhook CA", now, lifetime)
	if err != nil {
		return nil, err
	}
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
	_, authority, err := pki.SignCertificate(ca, ca, signer.Public(), signer)
	if err != nil {
		return nil, err
	}
	leaf, err := template(names[0], now, lifetime)
	if err != nil {
		return nil, err
	}
	leaf.DNSNames, leaf.KeyUsage = names, x509.KeyUsageDigitalSignature
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	key, err := pki.GenerateECPrivateKey(pki.ECCurve256)
	if err != nil {
		return nil, err
	}
	certificate, _, err := pki.SignCertificate(leaf, authority, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	private, err := pki.EncodePrivateKey(key, cmapi.PKCS8)
	if err != nil {
		return nil, err
	}
	return readPair(certificate, private, []*x509.Certificate{authority}, names[0], now)
}

func template(name string, now time.Time, lifetime time.Duration) (*x509.Certificate, error) {
	// RFC 5280 4.1.2.2: a serial number is positive and has at most 20 octets.
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	begin := now.Add(-lifetime / 4)
	return &x509.Certificate{Version: 3, SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		PublicKeyAlgorithm: x509.ECDSA, NotBefore: begin, NotAfter: begin.Add(lifetime)}, nil
}
