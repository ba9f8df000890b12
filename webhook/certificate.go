package webhook

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"

	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/cert-manager/cert-manager/pkg/util/pki"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"grayscale.dev/grayscale/routing"
)

const (
	secretName = "grayscale-webhook-certificate"
	configName = "grayscale" // of both webhook configurations
	caKey      = "ca.crt"    // as cert-manager names it

	lifetime = 365 * 24 * time.Hour
	leeway   = time.Hour           // the clocks of API server and grayscale may differ
	renewal  = 30 * 24 * time.Hour // a certificate that expires sooner is made anew at start
)

// Certificate makes sure that the webhook has a serving certificate that the API server trusts: it reads the Secret that all
// replicas share, or makes it, and puts the CA into both webhook configurations.
type Certificate struct {
	// Client reads and writes the API server itself: it is used before any cache has started.
	Client client.Client
	// Namespace and Service are those of the Service in front of the webhook.
	Namespace, Service string
	// Now is the clock.
	Now func() time.Time
}

// Ensure returns the certificate to serve with.
func (c Certificate) Ensure(ctx context.Context) (tls.Certificate, error) {
	data, err := c.secret(ctx)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("Secret %s/%s: %w", c.Namespace, secretName, err)
	}
	pair, err := tls.X509KeyPair(data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return pair, fmt.Errorf("Secret %s/%s: %w", c.Namespace, secretName, err)
	}
	return pair, c.trust(ctx, data[caKey])
}

// secret reads the shared Secret, or makes it where it is absent, unusable or about to expire. Of several replicas that
// make it at once the first wins: the others are refused and read it.
func (c Certificate) secret(ctx context.Context) (map[string][]byte, error) {
	key := types.NamespacedName{Namespace: c.Namespace, Name: secretName}
	for {
		s := &corev1.Secret{}
		err := c.Client.Get(ctx, key, s)
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, err
		}
		if err == nil && c.usable(s.Data) {
			return s.Data, nil
		}
		data, made := c.issue()
		if made != nil {
			return nil, made
		}
		if err == nil {
			s.Data = data
			err = c.Client.Update(ctx, s, client.FieldOwner(routing.FieldManager))
		} else {
			s = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: secretName}, Type: corev1.SecretTypeTLS, Data: data}
			err = c.Client.Create(ctx, s, client.FieldOwner(routing.FieldManager))
		}
		switch {
		case err == nil:
			return data, nil
		case !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err):
			return nil, err
		}
	}
}

// usable: the pair fits, is signed by the CA for our name, and lasts a while.
func (c Certificate) usable(data map[string][]byte) bool {
	pair, err := tls.X509KeyPair(data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return false
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data[caKey]) {
		return false
	}
	_, err = pair.Leaf.Verify(x509.VerifyOptions{DNSName: c.hosts()[0], Roots: roots, CurrentTime: c.Now().Add(renewal)})
	return err == nil
}

func (c Certificate) hosts() []string {
	name := c.Service + "." + c.Namespace
	return []string{name + ".svc", name, c.Service}
}

// issue makes a CA and a serving certificate. The CA's key is thrown away: a new certificate comes with a new CA.
func (c Certificate) issue() (map[string][]byte, error) {
	caKeyPair, err := pki.GenerateECPrivateKey(pki.ECCurve256)
	if err != nil {
		return nil, err
	}
	ca, err := c.template("grayscale webhook CA")
	if err != nil {
		return nil, err
	}
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
	caPEM, caCert, err := pki.SignCertificate(ca, ca, caKeyPair.Public(), caKeyPair)
	if err != nil {
		return nil, err
	}
	key, err := pki.GenerateECPrivateKey(pki.ECCurve256)
	if err != nil {
		return nil, err
	}
	leaf, err := c.template(c.hosts()[0])
	if err != nil {
		return nil, err
	}
	leaf.DNSNames, leaf.KeyUsage = c.hosts(), x509.KeyUsageDigitalSignature
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	certPEM, _, err := pki.SignCertificate(leaf, caCert, key.Public(), caKeyPair)
	if err != nil {
		return nil, err
	}
	keyPEM, err := pki.EncodePrivateKey(key, cmapi.PKCS8)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{caKey: caPEM, corev1.TLSCertKey: certPEM, corev1.TLSPrivateKeyKey: keyPEM}, nil
}

func (c Certificate) template(name string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	now := c.Now()
	return &x509.Certificate{Version: 3, SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		PublicKeyAlgorithm: x509.ECDSA, NotBefore: now.Add(-leeway), NotAfter: now.Add(lifetime)}, nil
}

// trust puts the CA into both webhook configurations, and writes nothing where it is there already.
func (c Certificate) trust(ctx context.Context, ca []byte) error {
	mutating := &admissionregistrationv1.MutatingWebhookConfiguration{}
	if err := c.Client.Get(ctx, types.NamespacedName{Name: configName}, mutating); err != nil {
		return fmt.Errorf("MutatingWebhookConfiguration %s: %w", configName, err)
	}
	before, unknown := mutating.DeepCopy(), false
	for i := range mutating.Webhooks {
		unknown = unknown || !bytes.Equal(mutating.Webhooks[i].ClientConfig.CABundle, ca)
		mutating.Webhooks[i].ClientConfig.CABundle = ca
	}
	if unknown {
		if err := c.Client.Patch(ctx, mutating, client.MergeFrom(before), client.FieldOwner(routing.FieldManager)); err != nil {
			return fmt.Errorf("MutatingWebhookConfiguration %s: %w", configName, err)
		}
	}
	return c.trustValidating(ctx, ca)
}

func (c Certificate) trustValidating(ctx context.Context, ca []byte) error {
	validating := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	if err := c.Client.Get(ctx, types.NamespacedName{Name: configName}, validating); err != nil {
		return fmt.Errorf("ValidatingWebhookConfiguration %s: %w", configName, err)
	}
	before, unknown := validating.DeepCopy(), false
	for i := range validating.Webhooks {
		unknown = unknown || !bytes.Equal(validating.Webhooks[i].ClientConfig.CABundle, ca)
		validating.Webhooks[i].ClientConfig.CABundle = ca
	}
	if !unknown {
		return nil
	}
	if err := c.Client.Patch(ctx, validating, client.MergeFrom(before), client.FieldOwner(routing.FieldManager)); err != nil {
		return fmt.Errorf("ValidatingWebhookConfiguration %s: %w", configName, err)
	}
	return nil
}
