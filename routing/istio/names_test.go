package istio_test

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
)

func TestHost(t *testing.T) {
	s := release.Service{Namespace: "shop", Name: "reviews"}
	if got := istio.Host(s, "corp.example"); got != "reviews.shop.svc.corp.example" {
		t.Errorf("Host: %q", got)
	}
}

func TestSubsetName(t *testing.T) {
	for version, want := range map[string]string{
		"v1":                    "v1",
		"2024-11-03":            "2024-11-03",
		"1":                     "1",
		"v1.0":                  "v1-0-fa8b919c90",
		"V1":                    "v1-dae96fc004",
		"v1_0":                  "v1-0-f02fe434ae",
		"main-0123456789":       "main-0123456789-42ffc4715b",
		"main-012345678":        "main-012345678",
		strings.Repeat("a", 63): strings.Repeat("a", 63),
	} {
		if got := istio.SubsetName(version); got != want {
			t.Errorf("SubsetName(%q) = %q, want %q", version, got, want)
		}
	}
}

// dnsLabel is what Kubernetes and Istio accept as a DNS label, in the lower case that both accept.
var dnsLabel = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// version draws a label value, often one that is close to another.
func version() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringMatching(`[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?`),
		rapid.StringMatching(`[vV]1?[-._]?0`),
		rapid.StringMatching(`[a-b]{50,52}[-._][a-f0-9]{10}`),
		rapid.Map(rapid.StringMatching(`[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?`), istio.SubsetName),
	)
}

func TestSubsetNamesAreValidAndDiffer(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seen := map[string]string{}
		versions := rapid.SliceOfN(version(), 2, 20).Draw(rt, "versions")
		versions = append(versions, istio.SubsetName(versions[0]), strings.ReplaceAll(versions[1], ".", "-"),
			strings.ToLower(versions[1]))
		for _, v := range versions {
			name := istio.SubsetName(v)
			if !dnsLabel.MatchString(name) {
				rt.Fatalf("subset %q of version %q is no DNS label", name, v)
			}
			if other, taken := seen[name]; taken && other != v {
				rt.Fatalf("versions %q and %q share subset %q", v, other, name)
			}
			seen[name] = v
		}
	})
}
