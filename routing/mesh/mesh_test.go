package mesh

import (
	"reflect"
	"testing"

	"grayscale.dev/grayscale/routing/release"
)

// Clients that are led past the subsets come first. All others get the split, which is the same with and without them.
func TestRules(t *testing.T) {
	traffic := release.Traffic{
		Weights: []release.Weight{{Version: "v1", Share: 9000}, {Version: "v2", Share: 1000}},
		Mirrors: []release.Weight{{Version: "v3", Share: 2500}},
	}
	split := Rule{Weights: traffic.Weights, Mirrors: traffic.Mirrors}
	if got := Rules(traffic, nil); !reflect.DeepEqual(got, []Rule{split}) {
		t.Errorf("%+v", got)
	}
	bank, tax := release.Clients{Namespace: "bank"}, release.Clients{Namespace: "tax",
		Labels: map[string]string{"app": "a"}}
	want := []Rule{{Match: Match{From: []release.Clients{bank, tax}}}, split}
	if got := Rules(traffic, []release.Bypass{{Clients: bank}, {Clients: tax}}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

func TestDescribe(t *testing.T) {
	for want, c := range map[string]release.Clients{
		"all clients":               {},
		"clients in namespace bank": {Namespace: "bank"},
		"clients in namespace bank with labels app=a,zone=b": {
			Namespace: "bank", Labels: map[string]string{"zone": "b", "app": "a"}},
	} {
		if got := Describe(c); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
