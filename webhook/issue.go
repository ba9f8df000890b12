package webhook

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/cert-manager/cert-manager/pkg/util/pki"
	corev1 "k8s.io/api/core/v1"
)

const (
	caKey = "ca.crt" // the key of a CA in a Secret of type kubernetes.io/tls, as cert-manager names it

	lifetime = 365 * 24 * time.Hour
	renewal  = 30 * 24 * time.Hour // a certificate with less left is made anew
	leeway   = time.Hour           // by which the clocks of the API server and of grayscale may differ
)

// hosts are the names that the webhook's Service has inside the cluster; the API server asks for the first.
func hosts(namespace, service string) []string {
	name := service + "." + namespace
	return []string{name + ".svc", name, service}
}

// usable reports whether the Secret's data serves the host for a while yet: key and certificate belong together, and the CA
// in it has signed them for the host.
func usable(data map[string][]byte, host string, now time.Time) error {
	pair, err := tls.X509KeyPair(data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data[caKey]) {
		return fmt.Errorf("%s holds no certificate", caKey)
	}
	_, err = pair.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, CurrentTime: now.Add(renewal)})
	return err
}

// issue makes a CA and a serving certificate signed by it. The CA's key is thrown away, so nobody can sign with it later:
// the next certificate comes with a CA of its own. CAs that were trusted before and still are valid stay in the bundle,
// because other replicas serve with their certificates until they read the Secret again.
func issue(names []string, now time.Time, trusted []byte) (map[string][]byte, error) {
	signer, err := pki.GenerateECPrivateKey(pki.ECCurve256)
	if err != nil {
		return nil, err
	}
	ca, err := template("grayscale webhook CA", now)
	if err != nil {
		return nil, err
	}
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
	bundle, authority, err := pki.SignCertificate(ca, ca, signer.Public(), signer)
	if err != nil {
		return nil, err
	}
	key, err := pki.GenerateECPrivateKey(pki.ECCurve256)
	if err != nil {
		return nil, err
	}
	leaf, err := template(names[0], now)
	if err != nil {
		return nil, err
	}
	leaf.DNSNames, leaf.KeyUsage = names, x509.KeyUsageDigitalSignature
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	certificate, _, err := pki.SignCertificate(leaf, authority, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	private, err := pki.EncodePrivateKey(key, cmapi.PKCS8)
	if err != nil {
		return nil, err
	}
	bundle = append(bundle, stillValid(trusted, now)...)
	return map[string][]byte{caKey: bundle, corev1.TLSCertKey: certificate, corev1.TLSPrivateKeyKey: private}, nil
}

func template(name string, now time.Time) (*x509.Certificate, error) {
	// RFC 5280 4.1.2.2: a serial number is positive and has at most 20 octets.
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{Version: 3, SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		PublicKeyAlgorithm: x509.ECDSA, NotBefore: now.Add(-leeway), NotAfter: now.Add(lifetime)}, nil
}

// stillValid is what is left of a bundle without the certificates that have expired; nothing where it cannot be read.
func stillValid(bundle []byte, now time.Time) []byte {
	certificates, err := pki.DecodeX509CertificateSetBytes(bundle)
	if err != nil {
		return nil
	}
	var out []byte
	for _, c := range certificates {
		if encoded, err := pki.EncodeX509(c); err == nil && now.Before(c.NotAfter) {
			out = append(out, encoded...)
		}
	}
	return out
}
