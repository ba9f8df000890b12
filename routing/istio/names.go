// Package istio builds and reads the two Istio objects that a release consists of, and says what in the cluster stands
// in their way. It is pure. What it says about Istio's behaviour was read in Istio 1.31 and is tested against istiod's
// own code in the lab's package validation.
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
	// meshGateway is the gateway that means all sidecars.
	meshGateway = "mesh"
	// maxSubset is the length of a DNS label, which Istio demands of subset names
	// (pkg/config/validation, validateSubsetName).
	maxSubset = 63
	// hashLength is how many hexadecimal digits tell apart versions that would otherwise share a subset name.
	hashLength    = 10
	maxBeforeHash = maxSubset - hashLength - 1
)

// Host is the Service's fully qualified domain name: the only host that our objects are about.
func Host(s release.Service, clusterDomain string) string {
	return s.Name + "." + s.Namespace + ".svc." + clusterDomain
}

// SubsetName is Istio's name for a version. A version that is a lower-case DNS label is its own name. Any other is
// brought into that form and told apart by a hash, as is one that looks as if that had happened to it: v1.0, v1-0, V10
// and v10 all differ. Upper case is changed, because Istio sends subset names through TLS server names between
// networks.
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

// dnsLabel turns what a DNS label may not hold into dashes; a label's value is never longer than a DNS label.
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

// endsLikeHash: a dash and as many hexadecimal digits as SubsetName appends.
func endsLikeHash(s string) bool {
	i := len(s) - hashLength - 1
	if i < 0 || s[i] != '-' {
		return false
	}
	_, err := hex.DecodeString(s[i+1:])
	return err == nil
}
