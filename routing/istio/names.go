// Package istio builds and reads the two Istio objects of a release, and says what in the cluster stands in their way.
// It is pure. Its statements about Istio's behaviour come from the source of Istio 1.31; the package
// test/lab/validation tests them against istiod's own code.
package istio

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"grayscale.dev/grayscale/routing/release"
)

const (
	apiVersion          = "networking.istio.io/v1"
	kindVirtualService  = "VirtualService"
	kindDestinationRule = "DestinationRule"
	meshGateway         = "mesh" // means all sidecars
	// maxSubset is the length of a DNS label, which Istio requires of subset names (pkg/config/validation,
	// validateSubsetName).
	maxSubset = 63
	// hashLength is how many hexadecimal digits distinguish versions that would otherwise share a subset name.
	hashLength    = 10
	maxBeforeHash = maxSubset - hashLength - 1
)

// Host is the Service's fully qualified domain name, the only host in our objects.
func Host(s release.Service, clusterDomain string) string {
	return s.Name + "." + s.Namespace + ".svc." + clusterDomain
}

// SubsetName is Istio's name for a version. A version that is a lower-case DNS label is its own name. Any other version
// is converted into one and gets a hash, and so does a version that already looks converted: v1.0, v1-0, V10 and v10
// all differ. Upper case is converted because Istio uses subset names in the TLS server names between networks.
func SubsetName(version string) string {
	plain := dnsLabel(version)
	if plain == version && !endsLikeHash(version) {
		return version
	}
	sum := sha256.Sum256([]byte(version))
	if len(plain) > maxBeforeHash {
		plain = strings.TrimRight(plain[:maxBeforeHash], "-")
	}
	return plain + "-" + hex.EncodeToString(sum[:hashLength/2])
}

// dnsLabel replaces what a DNS label may not contain with dashes. A label value is never longer than a DNS label.
func dnsLabel(version string) string {
	s := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '-'
	}, version)
	if s = strings.Trim(s, "-"); s == "" {
		return "v"
	}
	return s
}

// endsLikeHash: the text ends in a dash and as many hexadecimal digits as SubsetName appends.
func endsLikeHash(s string) bool {
	i := len(s) - hashLength - 1
	if i < 0 || s[i] != '-' {
		return false
	}
	_, err := hex.DecodeString(s[i+1:])
	return err == nil
}
