package certs

import (
	"crypto/x509"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Keys of the Secret in addition to tls.crt and tls.key, which have the current certificate.
const (
	caKey      = "ca.crt"   // the CAs to trust; cert-manager's name for a CA in a Secret of type kubernetes.io/tls
	nextKey    = "next.key" // the certificate that the next rotation makes current
	nextCrt    = "next.crt"
	rotatedKey = "rotated" // when the current certificate became the current one
)

// mostRetired bounds the size of the bundle, whatever happens to the Secret.
const mostRetired = 16

// contents is the usable part of the Secret.
type contents struct {
	current, next *pair               // nil where it is absent, damaged or expired
	retired       []*x509.Certificate // CAs of certificates that some replica may still serve
	rotated       time.Time
}

// read never fails: the next step of the rotation replaces what cannot be read.
func (r rotation) read(data map[string][]byte, now time.Time) contents {
	var c contents
	cas := readBundle(data[caKey])
	if p, err := readPair(data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey], cas, r.names[0], now); err == nil {
		c.current = p
	}
	if p, err := readPair(data[nextCrt], data[nextKey], cas, r.names[0], now); err == nil {
		c.next = p
	}
	if at, err := time.Parse(time.RFC3339Nano, string(data[rotatedKey])); err == nil {
		c.rotated = at
	}
	c.retire(now, cas...)
	return c
}

// write encodes the contents for read.
func (c contents) write() (map[string][]byte, error) {
	bundle, err := writeBundle(c.trusted())
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		corev1.TLSCertKey: c.current.certificate, corev1.TLSPrivateKeyKey: c.current.key,
		nextCrt: c.next.certificate, nextKey: c.next.key,
		caKey: bundle, rotatedKey: []byte(c.rotated.UTC().Format(time.RFC3339Nano)),
	}, nil
}

// trusted are the CAs that the API server has to trust.
func (c contents) trusted() []*x509.Certificate {
	var out []*x509.Certificate
	for _, p := range []*pair{c.current, c.next} {
		if p != nil {
			out = append(out, p.ca)
		}
	}
	return append(out, c.retired...)
}

// retire keeps CAs trusted for the overlap. Of too many it keeps those that were added last.
func (c *contents) retire(now time.Time, cas ...*x509.Certificate) {
	for _, ca := range cas {
		if now.Before(ca.NotAfter) && !contains(c.trusted(), ca) {
			c.retired = append(c.retired, ca)
		}
	}
	c.retired = c.retired[max(0, len(c.retired)-mostRetired):]
}

// unexpired removes pairs that have expired since they were read.
func (c contents) unexpired(now time.Time) contents {
	for _, p := range []**pair{&c.current, &c.next} {
		if *p != nil && !now.Before((*p).expires()) {
			*p = nil
		}
	}
	return c
}
