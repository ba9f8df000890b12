package intent

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
	"pgregory.net/rapid"
)

// The checks of names are our own, because those of Kubernetes run regular expressions. So they must agree with
// Kubernetes.
func TestNamesAreThoseOfKubernetes(t *testing.T) {
	near := rapid.StringOfN(rapid.RuneFrom([]rune("ab0Z-_./ é")), 0, 5, -1)
	padding := rapid.SampledFrom([]int{0, 58, 59, 60, 61, 62, 63, 248, 249, 250, 251, 252, 253})
	rapid.Check(t, func(t *rapid.T) {
		s := near.Draw(t, "head") + strings.Repeat("x", padding.Draw(t, "padding")) + near.Draw(t, "tail")
		if got, want := isServiceName(s), len(validation.IsDNS1123Label(s)) == 0; got != want {
			t.Fatalf("%q is a Service's name: %t, want %t", s, got, want)
		}
		if got, want := isDeploymentName(s), len(validation.IsDNS1123Subdomain(s)) == 0; got != want {
			t.Fatalf("%q is a Deployment's name: %t, want %t", s, got, want)
		}
		// An empty value is a valid label value too, but it does not name a version.
		if got, want := isLabelValue(s), s != "" && len(validation.IsValidLabelValue(s)) == 0; got != want {
			t.Fatalf("%q is a label's value: %t, want %t", s, got, want)
		}
	})
}

// Every name that is proposed for a wrong one must be accepted.
func TestProposedNamesAreTaken(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.StringOfN(rapid.RuneFrom([]rune("aB2-_./, +é\n")), 0, 12, -1).Draw(t, "value")
		key := rapid.SampledFrom([]string{KeyService, KeyStable, KeyVersion}).Draw(t, "key")
		flaw := keyOf(key).Set(&Intent{}, value)
		if flaw == nil {
			return
		}
		proposal, found := strings.CutPrefix(flaw.Fix, `write "`)
		if !found {
			return
		}
		if again := keyOf(key).Set(&Intent{}, strings.TrimSuffix(proposal, `"`)); again != nil {
			t.Fatalf("%s: %q is to become %q, %s", key, value, proposal, again.What)
		}
	})
}

func TestNearest(t *testing.T) {
	choices := shortNames()
	for word, want := range map[string]string{
		"weight": "weight", "wieght": "weight", "weights": "weight", "wght": "weight", "WEIGHT ": "weight",
		"pause": "paused", "actve": "active", "services": "service", "mirror": "mirror-percent", "mirrorpercent": "mirror-percent",
		"set-weight": "weight", "stratgy": "strategy", "ver": "", "x": "", "": "", "replicas": "", "wait": "", "path": "",
		strings.Repeat("weight", 20): "",
	} {
		if got := nearest(word, choices); got != want {
			t.Errorf("%q is near %q, want %q", word, got, want)
		}
	}
}
