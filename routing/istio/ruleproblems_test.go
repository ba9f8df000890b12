package istio_test

import (
	"slices"
	"strings"
	"testing"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"grayscale.dev/grayscale/routing/intent"
)

func TestRuleProblems(t *testing.T) {
	v2 := map[string]string{"version": "v2"}
	for _, c := range []struct {
		name   string
		others []*networkingv1.DestinationRule
		want   string // the beginning of the one problem's sentence; empty for none
	}{
		{name: "none"},
		{name: "same namespace", others: []*networkingv1.DestinationRule{rule("shop/mine", "reviews", 77)}},
		{name: "same namespace, exportTo *", others: []*networkingv1.DestinationRule{rule("shop/mine", fqdn, 77, "*")}},
		{name: "same namespace, same subset",
			others: []*networkingv1.DestinationRule{withSubset(rule("shop/mine", fqdn, 0), "v2", v2)}},
		{name: "same namespace, own subset",
			others: []*networkingv1.DestinationRule{withSubset(rule("shop/mine", fqdn, 0), "eu",
				map[string]string{"zone": "eu"})}},
		{name: "same namespace, subset with other labels",
			others: []*networkingv1.DestinationRule{withSubset(rule("shop/mine", fqdn, 0), "v2",
				map[string]string{"zone": "eu"})},
			want: `DestinationRule shop/mine for host ` + fqdn +
				` has a subset "v2" with other labels than version: v2; rename that subset, or give the candidate another version`},
		{name: "same namespace, stable's subset with other labels",
			others: []*networkingv1.DestinationRule{withSubset(rule("shop/mine", fqdn, 0), "v1",
				map[string]string{"zone": "eu"})},
			want: `DestinationRule shop/mine for host ` + fqdn +
				` has a subset "v1" with other labels than version: v1, which is stable's version; ` +
				`rename that subset, or give it the label version: v1 alone`},
		{name: "private in the namespace", others: []*networkingv1.DestinationRule{rule("shop/mine", fqdn, 0, ".")},
			want: `DestinationRule shop/mine for host ` + fqdn +
				` has exportTo ["."]: clients in other namespaces would not know the subsets of the release; remove exportTo`},
		{name: "two that differ",
			others: []*networkingv1.DestinationRule{rule("shop/a", fqdn, 0), age(rule("shop/b", "reviews", 0, "*"), 1)},
			want: `DestinationRule shop/b for host reviews has exportTo ["*"] where DestinationRule a has []: ` +
				`Istio does not merge the two; write the same`},
		{name: "selector", others: []*networkingv1.DestinationRule{withSelector(rule("shop/mine", fqdn, 0))},
			want: `DestinationRule shop/mine for host ` + fqdn + ` has a workloadSelector`},
		{name: "selector in a client's namespace",
			others: []*networkingv1.DestinationRule{withSelector(rule("bank/theirs", "*.local", 0))},
			want:   `DestinationRule bank/theirs for host *.local has a workloadSelector`},
		{name: "client's namespace", others: []*networkingv1.DestinationRule{rule("bank/theirs", fqdn, 0)},
			want: `DestinationRule bank/theirs for host ` + fqdn +
				` hides every other rule for it from clients in namespace bank`},
		{name: "client's namespace, private, wildcard",
			others: []*networkingv1.DestinationRule{rule("bank/theirs", "*.local", 0, ".")},
			want: `DestinationRule bank/theirs for host *.local hides every other rule for it from clients in namespace bank: ` +
				`they would not know the subsets of the release; name the hosts that it needs in place of the wildcard`},
		{name: "a third namespace's, for others",
			others: []*networkingv1.DestinationRule{rule("bank/theirs", fqdn, 0, "shop")}},
		{name: "client's own Service of that name",
			others: []*networkingv1.DestinationRule{rule("bank/theirs", "reviews", 0)}},
		{name: "root", others: []*networkingv1.DestinationRule{rule(root+"/all", "*.local", 77)}},
		{name: "private in the root", others: []*networkingv1.DestinationRule{rule(root+"/all", "*.local", 77, ".")},
			want: `DestinationRule istio-system/all for host *.local hides every other rule for it ` +
				`from clients in namespace istio-system`},
		{name: "root, for some namespaces",
			others: []*networkingv1.DestinationRule{rule(root+"/all", "*.local", 77, "bank", "shop")},
			want: `DestinationRule istio-system/all for host *.local has exportTo ["bank" "shop"]: ` +
				`clients in other namespaces`},
		{name: "root, hidden by the user's",
			others: []*networkingv1.DestinationRule{rule(root+"/all", "*.local", 77, "bank"), rule("shop/mine", "reviews", 0)}},
		{name: "root with subsets",
			others: []*networkingv1.DestinationRule{withSubset(rule(root+"/all", fqdn, 77), "v2", v2)},
			want: `DestinationRule istio-system/all for host ` + fqdn +
				` has subsets, which the release would take away from those who route to them`},
		{name: "wildcard in the namespace, private",
			others: []*networkingv1.DestinationRule{rule("shop/all", "*.local", 77, ".")},
			want:   `DestinationRule shop/all for host *.local has exportTo ["."]`},
		{name: "farther wildcard, private",
			others: []*networkingv1.DestinationRule{rule("shop/all", "*.local", 77, "."),
				rule("shop/near", "*.cluster.local", 1)}},
	} {
		for range 2 { // in both orders
			got := ruleProblems(c.others, "v2", "v1")
			switch {
			case c.want == "" && len(got) != 0:
				t.Errorf("%s: %v", c.name, got)
			case c.want != "" &&
				(len(got) != 1 || got[0].Kind != intent.Conflict || !strings.HasPrefix(got[0].String(), c.want)):
				t.Errorf("%s:\n got %v\nwant %s", c.name, got, c.want)
			}
			slices.Reverse(c.others)
		}
	}
}

// TestServiceInTheRootNamespace: the rules there are the Service's own.
func TestServiceInTheRootNamespace(t *testing.T) {
	s := service()
	s.Namespace = root
	m := around(s)
	m.OtherDestinationRules = []*networkingv1.DestinationRule{rule(root+"/all", "*.local", 77)}
	if got := m.SubsetProblems("", ""); len(got) != 0 {
		t.Errorf("%v", got)
	}
	dr := destinationRule(s, subsetsOf("v1"), m.OtherDestinationRules...)
	if dr.Spec.TrafficPolicy.GetConnectionPool().GetTcp().GetMaxConnections() != 77 {
		t.Errorf("%v", dr)
	}
}
