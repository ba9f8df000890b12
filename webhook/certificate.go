package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"grayscale.dev/grayscale/routing"
)

const (
	lookAgain  = 5 * time.Minute // between looks at the Secret and the webhook configurations
	retryFirst = 250 * time.Millisecond
	retryMost  = 30 * time.Second
)

// errNoCertificate is what a TLS client meets before the first look at the Secret has succeeded.
var errNoCertificate = errors.New("the webhook's certificate has not been read yet")

// CertificateOptions say where the serving certificate lives and who has to trust it. All are required.
type CertificateOptions struct {
	// Namespace is grayscale's own: it holds the Secret, and the Service that the API server calls.
	Namespace string
	// Service is the name of the Service in front of the webhook.
	Service string
	// Secret is the name of the Secret that all replicas share.
	Secret string
	// Configuration is the name of the mutating and of the validating webhook configuration that get the CA.
	Configuration string
}

// Certificate keeps the webhook's serving certificate: it reads the Secret that all replicas share, or makes it, has the API
// server trust its CA, and looks again from time to time, since certificates expire and a CA is lost from the webhook
// configurations where their manifests are replaced.
type Certificate struct {
	options CertificateOptions
	now     func() time.Time
	current atomic.Pointer[tls.Certificate]
}

// NewCertificate makes a Certificate that has none to serve with yet; Setup starts it.
func NewCertificate(options CertificateOptions) *Certificate {
	return &Certificate{options: options, now: time.Now}
}

// TLS makes a server serve with the certificate that is current at each handshake, over TLS 1.2 or later.
func (c *Certificate) TLS(config *tls.Config) {
	config.MinVersion = tls.VersionTLS12
	config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if pair := c.current.Load(); pair != nil {
			return pair, nil
		}
		return nil, errNoCertificate
	}
}

// Ready fails while there is no certificate to serve with: until the caches have synced and the API server trusts it.
func (c *Certificate) Ready(*http.Request) error {
	if c.current.Load() == nil {
		return errNoCertificate
	}
	return nil
}

// keeper is a Certificate with access to the API server. It reads past the caches, which would need rights to list Secrets.
type keeper struct {
	*Certificate
	reader client.Reader
	writer client.Writer
}

func (c *Certificate) keptWith(mgr manager.Manager) keeper {
	return keeper{Certificate: c, reader: mgr.GetAPIReader(), writer: mgr.GetClient()}
}

// NeedLeaderElection tells the manager that every replica serves, and so needs the certificate.
func (k keeper) NeedLeaderElection() bool { return false }

// Start looks after the certificate until the context ends. The manager calls it once its caches have synced: no question
// is answered before, for there is no certificate to answer with.
func (k keeper) Start(ctx context.Context) error {
	pause := retryFirst
	for {
		next := lookAgain + rand.N(lookAgain/5) // replicas that start together need not look together
		if err := k.keep(ctx); err != nil && ctx.Err() == nil {
			ctrl.LoggerFrom(ctx).Error(err, "the webhook's certificate; trying again", "after", pause.String())
			next, pause = pause, min(2*pause, retryMost)
		} else {
			pause = retryFirst
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(next):
		}
	}
}

// keep looks once. The API server trusts a CA before anything signed by it is served.
func (k keeper) keep(ctx context.Context) error {
	data, err := k.secret(ctx)
	if err != nil {
		return fmt.Errorf("Secret %s/%s: %w", k.options.Namespace, k.options.Secret, err)
	}
	pair, err := tls.X509KeyPair(data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return fmt.Errorf("Secret %s/%s: %w", k.options.Namespace, k.options.Secret, err)
	}
	// The mutating one first: where the validating webhook answers, the other is known to answer as well.
	if err := k.trust(ctx, &admissionregistrationv1.MutatingWebhookConfiguration{}, data[caKey]); err != nil {
		return fmt.Errorf("MutatingWebhookConfiguration %s: %w", k.options.Configuration, err)
	}
	if err := k.trust(ctx, &admissionregistrationv1.ValidatingWebhookConfiguration{}, data[caKey]); err != nil {
		return fmt.Errorf("ValidatingWebhookConfiguration %s: %w", k.options.Configuration, err)
	}
	k.current.Store(&pair)
	expires(&pair)
	return nil
}

// secret reads the shared Secret, and makes it where it is absent, unusable or about to expire. Of several replicas that
// make it at once one is first: the API server refuses the others, and they read what the first has made.
func (k keeper) secret(ctx context.Context) (map[string][]byte, error) {
	names := hosts(k.options.Namespace, k.options.Service)
	for {
		s := &corev1.Secret{}
		err := k.reader.Get(ctx, types.NamespacedName{Namespace: k.options.Namespace, Name: k.options.Secret}, s)
		absent := apierrors.IsNotFound(err)
		if err != nil && !absent {
			return nil, err
		}
		why := usable(s.Data, names[0], k.now())
		if why == nil {
			return s.Data, nil
		}
		data, err := issue(names, k.now(), s.Data[caKey])
		if err != nil {
			return nil, err
		}
		if absent {
			s = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: k.options.Namespace, Name: k.options.Secret},
				Type: corev1.SecretTypeTLS, Data: data}
			err = k.writer.Create(ctx, s, client.FieldOwner(routing.FieldManager))
		} else {
			ctrl.LoggerFrom(ctx).Info("making the webhook's certificate anew", "because", why.Error())
			s.Data = data
			err = k.writer.Update(ctx, s, client.FieldOwner(routing.FieldManager))
		}
		if err == nil {
			return data, nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			return nil, err
		}
	}
}

// trust gives the CA to every webhook of a configuration, and writes nothing where it is there already. A configuration
// that does not exist needs no CA: an administrator may run the controller without webhooks.
func (k keeper) trust(ctx context.Context, configuration client.Object, ca []byte) error {
	err := k.reader.Get(ctx, types.NamespacedName{Name: k.options.Configuration}, configuration)
	if err != nil {
		return client.IgnoreNotFound(err)
	}
	before := configuration.DeepCopyObject().(client.Object)
	missing := false
	for _, c := range clientConfigs(configuration) {
		missing = missing || !bytes.Equal(c.CABundle, ca)
		c.CABundle = ca
	}
	if !missing {
		return nil
	}
	// A strategic merge patch names the webhooks: what else changes in the list meanwhile is left alone.
	return k.writer.Patch(ctx, configuration, client.StrategicMergeFrom(before), client.FieldOwner(routing.FieldManager))
}

func clientConfigs(configuration client.Object) []*admissionregistrationv1.WebhookClientConfig {
	var out []*admissionregistrationv1.WebhookClientConfig
	switch c := configuration.(type) {
	case *admissionregistrationv1.MutatingWebhookConfiguration:
		for i := range c.Webhooks {
			out = append(out, &c.Webhooks[i].ClientConfig)
		}
	case *admissionregistrationv1.ValidatingWebhookConfiguration:
		for i := range c.Webhooks {
			out = append(out, &c.Webhooks[i].ClientConfig)
		}
	}
	return out
}
