// Package istio builds and reads the two Istio objects that a release consists of. It is pure.
package istio

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

const (
	// ManagedBy is the label that the derived objects carry, with the value Manager
	// (https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/).
	ManagedBy = "app.kubernetes.io/managed-by"
	// Manager is the value of the label ManagedBy.
	Manager = "grayscale"

	mesh          = "mesh" // the gateway that means all sidecars
	maxSubset     = 63     // a DNS-1123 label, as Istio's validateSubsetName demands
	hashLength    = 8
	maxBeforeHash = maxSubset - hashLength - 1
)

// Name is the name of both derived objects of a Service.
func Name(service string) string { return service + "-grayscale" }

// Host is the Service's fully qualified domain name: the only host that our objects are about.
func Host(s release.Service, clusterDomain string) string {
	return s.Name + "." + s.Namespace + ".svc." + clusterDomain
}

// SubsetName is Istio's name for a version. Versions that are DNS-1123 labels keep their name; others are brought into
// that form and told apart by a hash, as is a version that looks as if it had been: v1.0, v1-0 and v10 all differ.
func SubsetName(version string) string {
	plain := sanitise(version)
	if plain == version && !endsLikeHash(version) {
		return version
	}
	sum := sha256.Sum256([]byte(version))
	if len(plain) > maxBeforeHash {
		plain = plain[:maxBeforeHash]
	}
	return strings.Trim(plain, "-") + "-" + hex.EncodeToString(sum[:hashLength/2])
}

func sanitise(version string) string {
	s := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-':
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

// Ours reports whether the VirtualService is one that grayscale wrote, whoever edited it since.
func Ours(vs *networkingv1.VirtualService) bool {
	_, state := vs.Annotations[intent.KeyState]
	return state || vs.Labels[ManagedBy] == Manager
}
