package istio_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"istio.io/api/networking/v1alpha3"
	apitype "istio.io/api/type/v1beta1"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"sigs.k8s.io/yaml"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/mesh"
)

// blindCase is a set of rules, and the clients that lack our subsets v1 and v2 beside them. The package
// test/lab/validation checks each case against istiod's own code.
type blindCase struct {
	Rules []ruleCase `json:"rules"`
	// Blind are the keys of the clients; "*" means all clients.
	Blind []string `json:"blind,omitempty"`
}

// ruleCase is a short form of a rule for Service reviews in namespace shop.
type ruleCase struct {
	At       string   `json:"at"` // namespace/name
	Host     string   `json:"host"`
	ExportTo []string `json:"exportTo,omitempty"`
	// Selects is the value of the label app in its workloadSelector; empty for none.
	Selects string `json:"selects,omitempty"`
	// Subsets are pairs of a name and a version.
	Subsets []string `json:"subsets,omitempty"`
	// Second is when it was created.
	Second int `json:"second"`
}

func (c ruleCase) rule() *networkingv1.DestinationRule {
	dr := age(rule(c.At, c.Host, 0, c.ExportTo...), c.Second)
	if c.Selects != "" {
		dr.Spec.WorkloadSelector = &apitype.WorkloadSelector{MatchLabels: map[string]string{"app": c.Selects}}
	}
	for _, pair := range c.Subsets {
		name, version, _ := strings.Cut(pair, "=")
		dr.Spec.Subsets = append(dr.Spec.Subsets, &v1alpha3.Subset{Name: name, Labels: map[string]string{"version": version}})
	}
	return dr
}

// oursWith is the first rule of every case.
func oursWith(exportTo ...string) ruleCase {
	return ruleCase{At: "shop/reviews-grayscale", Host: fqdn, ExportTo: exportTo, Subsets: []string{"v1=v1", "v2=v2"},
		Second: 10}
}

func ourRule(c ruleCase) *networkingv1.DestinationRule {
	dr := c.rule()
	dr.Labels = map[string]string{mesh.ManagedBy: mesh.Manager}
	return dr
}

func blindOf(rules []ruleCase) []string {
	var others []*networkingv1.DestinationRule
	for _, c := range rules[1:] {
		others = append(others, c.rule())
	}
	var out []string
	for _, b := range blind(ourRule(rules[0]), others, "v1", "v2") {
		out = append(out, keyOf(b))
	}
	return out
}

func keyOf(b mesh.Blind) string {
	if b.Everybody() {
		return "*"
	}
	return b.Key()
}

// TestBlindClients: which clients lack our subsets beside which rules.
func TestBlindClients(t *testing.T) {
	older, younger := 5, 20
	both := []string{"v1=v1", "v2=v2"}
	for _, c := range []struct {
		what  string
		other ruleCase
		blind []string
	}{
		{"merged", ruleCase{At: "shop/a", Host: "reviews", Second: younger}, nil},
		{"in a client's namespace", ruleCase{At: "bank/a", Host: fqdn, Second: younger}, []string{"bank"}},
		{"in a client's namespace, older", ruleCase{At: "bank/a", Host: fqdn, Second: older}, []string{"bank"}},
		{"in a client's namespace, with our subsets", ruleCase{At: "bank/a", Host: fqdn, Subsets: both, Second: younger},
			nil},
		{"in a client's namespace, with one of them", ruleCase{At: "bank/a", Host: fqdn, Subsets: both[:1], Second: younger},
			[]string{"bank"}},
		{"in a client's namespace, for others",
			ruleCase{At: "bank/a", Host: fqdn, ExportTo: []string{"shop"}, Second: younger}, nil},
		{"in a client's namespace, a wildcard",
			ruleCase{At: "bank/a", Host: "*.local", ExportTo: []string{"."}, Second: younger}, []string{"bank"}},
		{"in a client's namespace, for some of its workloads",
			ruleCase{At: "bank/a", Host: fqdn, Selects: "client", Second: younger}, []string{"bank"}},
		{"for some workloads in the Service's", ruleCase{At: "shop/a", Host: "reviews", Selects: "client", Second: younger},
			[]string{"shop app=client"}},
		{"for some workloads in the Service's, a wildcard",
			ruleCase{At: "shop/a", Host: "*.local", Selects: "client", Second: younger}, nil},
		{"private in the Service's", ruleCase{At: "shop/a", Host: "reviews", ExportTo: []string{"."}, Second: younger},
			[]string{"shop"}},
		{"private in the Service's, older", ruleCase{At: "shop/a", Host: "reviews", ExportTo: []string{"."}, Second: older},
			nil},
		{"for one namespace", ruleCase{At: "shop/a", Host: "reviews", ExportTo: []string{"bank"}, Second: younger},
			[]string{"bank"}},
		{"literally another exportTo", ruleCase{At: "shop/a", Host: "reviews", ExportTo: []string{"*"}, Second: younger},
			[]string{"*"}},
		{"literally another exportTo, older",
			ruleCase{At: "shop/a", Host: "reviews", ExportTo: []string{"*"}, Second: older}, nil},
		{"an older subset of our name", ruleCase{At: "shop/a", Host: "reviews", Subsets: []string{"v2=old"}, Second: older},
			[]string{"*"}},
		{"a younger subset of our name",
			ruleCase{At: "shop/a", Host: "reviews", Subsets: []string{"v2=old"}, Second: younger}, nil},
		{"private in the root", ruleCase{At: root + "/a", Host: "*.local", ExportTo: []string{"."}, Second: younger},
			[]string{root}},
		{"in the root", ruleCase{At: root + "/a", Host: fqdn, Second: older}, nil},
		{"another Service", ruleCase{At: "bank/a", Host: "reviews", Second: younger}, nil},
	} {
		if got := blindOf([]ruleCase{oursWith(), c.other}); !slices.Equal(got, c.blind) {
			t.Errorf("%s: blind are %q, want %q", c.what, got, c.blind)
		}
	}
}

// TestBlindClientsNameTheRules: the entries name the rules that hide ours, and only labels that a VirtualService may
// contain.
func TestBlindClientsNameTheRules(t *testing.T) {
	bad := ruleCase{At: "shop/b", Host: "reviews", Selects: "not a label", Second: 3}.rule()
	got := blind(ourRule(oursWith()), []*networkingv1.DestinationRule{
		ruleCase{At: "bank/b", Host: fqdn, Second: 1}.rule(),
		ruleCase{At: "bank/a", Host: fqdn, Second: 2}.rule(), bad}, "v1")
	var problems []string
	for i, b := range got {
		problems = append(problems, b.Problem.String())
		got[i].Problem = intent.Problem{}
	}
	if want := "[{{bank map[]} [bank/a bank/b] } {{shop map[]} [shop/b] }]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
	want := []string{
		"DestinationRule bank/a and bank/b hides the subsets of the release from clients in namespace bank: " +
			"they reach all pods of Service reviews, without the split; delete it, or write what it says into a rule " +
			"for host reviews in namespace shop, without workloadSelector and exportTo",
		"DestinationRule shop/b hides the subsets of the release from clients in namespace shop: " +
			"they reach all pods of Service reviews, without the split; delete it, or write what it says into a rule " +
			"for host reviews in namespace shop, without workloadSelector and exportTo",
	}
	if !slices.Equal(problems, want) {
		t.Errorf("got %q\nwant %q", problems, want)
	}
	if got := blind(ourRule(oursWith()), nil, "v7"); len(got) > 0 {
		t.Errorf("a version that ours lacks makes clients blind: %v", got)
	}
}

// TestGoldenBlindClients records the result for many random sets of rules, to be checked against istiod's own code.
func TestGoldenBlindClients(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var cases []blindCase
	for len(cases) < 120 {
		cases = append(cases, drawRules(rng))
	}
	got, err := yaml.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, filepath.Join("testdata", "blind", "rules.yaml"), got)
}

func drawRules(rng *rand.Rand) blindCase {
	pick := func(list ...string) string { return list[rng.IntN(len(list))] }
	exports := [][]string{nil, nil, {"*"}, {"*"}, {"."}, {"shop"}, {"bank"}, {"bank", "tax"}, {".", "istio-system"}}
	c := blindCase{Rules: []ruleCase{oursWith(exports[rng.IntN(4)]...)}}
	for i := range 1 + rng.IntN(4) {
		r := ruleCase{At: pick("shop", "shop", "shop", "bank", "tax", root) + fmt.Sprintf("/r%d", i), Host: fqdn,
			ExportTo: exports[rng.IntN(len(exports))], Second: rng.IntN(20)}
		if rng.IntN(4) == 0 {
			r.Host = pick("*.shop.svc.cluster.local", "*.local")
		}
		if rng.IntN(4) == 0 {
			r.Selects, r.ExportTo = pick("client", "other"), exports[4*rng.IntN(2)] // Istio accepts no other
		}
		if strings.HasPrefix(r.At, root) && slices.Contains(r.ExportTo, root) {
			r.ExportTo = nil // Istio accepts no namespace twice
		}
		switch rng.IntN(4) {
		case 0:
			r.Subsets = []string{"v1=v1", "v2=v2"}
		case 1:
			r.Subsets = []string{pick("v1=v1", "v2=old", "v9=v9")}
		}
		c.Rules = append(c.Rules, r)
	}
	c.Blind = blindOf(c.Rules)
	return c
}
