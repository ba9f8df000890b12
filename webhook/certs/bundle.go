package certs

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"

	"github.com/cert-manager/cert-manager/pkg/util/pki"
)

// readBundle reads the CAs of a bundle. It skips what cannot be read: a damaged CA must not invalidate the others.
func readBundle(bundle []byte) []*x509.Certificate {
	var out []*x509.Certificate
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if c, err := pki.DecodeX509CertificateBytes(pem.EncodeToMemory(block)); err == nil {
			out = append(out, c)
		}
	}
	return out
}

// writeBundle encodes CAs for readBundle, without duplicates.
func writeBundle(cas []*x509.Certificate) ([]byte, error) {
	var out []byte
	for i, c := range cas {
		if contains(cas[:i], c) {
			continue
		}
		encoded, err := pki.EncodeX509(c)
		if err != nil {
			return nil, fmt.Errorf("CA %s: %w", c.SerialNumber, err)
		}
		out = append(out, encoded...)
	}
	return out, nil
}

func contains(cas []*x509.Certificate, ca *x509.Certificate) bool {
	return slices.ContainsFunc(cas, ca.Equal)
}
