package istio_test

import (
	"slices"
	"strings"
	"testing"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
)

const fqdn = "reviews.shop.svc.cluster.local"

// routes is a user's VirtualService; name is "namespace/name".
func routes(name string, hosts ...string) *networkingv1.VirtualService {
	vs := &networkingv1.VirtualService{}
	vs.Namespace, vs.Name, _ = strings.Cut(name, "/")
	vs.Spec.Hosts = hosts
	return age(vs, 0)
}

func at(vs *networkingv1.VirtualService, gateways ...string) *networkingv1.VirtualService {
	vs.Spec.Gateways = gateways
	return vs
}

func exported(vs *networkingv1.VirtualService, to ...string) *networkingv1.VirtualService {
	vs.Spec.ExportTo = to
	return vs
}

// ourRoutes is ours, created in the given second.
func ourRoutes(seconds int) *networkingv1.VirtualService {
	return age(istio.VirtualService(service(release.Port{Name: "http", Number: 80}), domain, only("v1"), release.State{}, nil), seconds)
}

func TestHostProblems(t *testing.T) {
	for _, c := range []struct {
		name     string
		other    *networkingv1.VirtualService
		ours     *networkingv1.VirtualService
		conflict bool
	}{
		{name: "short host", other: routes("shop/mine", "reviews"), conflict: true},
		{name: "full host in upper case", other: routes("bank/theirs", "Reviews.shop.svc.cluster.local"), conflict: true},
		{name: "half qualified", other: routes("bank/theirs", "reviews.shop"), conflict: true},
		{name: "with svc", other: routes("bank/theirs", "reviews.shop.svc"), conflict: true},
		{name: "short host of another namespace", other: routes("bank/theirs", "reviews")},
		{name: "another host", other: routes("shop/mine", "ratings", "*.bank.svc.cluster.local")},
		{name: "one of several hosts", other: routes("shop/mine", "ratings", "reviews"), conflict: true},
		{name: "wildcard", other: routes("shop/mine", "*.shop.svc.cluster.local"), conflict: true},
		{name: "delegate", other: routes("shop/part")},
		{name: "gateway alone", other: at(routes("shop/mine", "reviews"), "edge")},
		{name: "gateway and mesh", other: at(routes("shop/mine", "reviews"), "edge", "mesh"), conflict: true},
		{name: "exported to nobody", other: exported(routes("shop/mine", "reviews"), "~")},
		{name: "known in a client's namespace", other: exported(routes("bank/theirs", fqdn), "."), conflict: true},
		{name: "younger than ours", other: age(routes("shop/mine", "reviews"), 1), ours: ourRoutes(0)},
		{name: "older than ours", other: routes("shop/mine", "reviews"), ours: ourRoutes(1), conflict: true},
		{name: "as old, later in the alphabet", other: routes("shop/zebra", "reviews"), ours: ourRoutes(0)},
		{name: "as old, earlier in the alphabet", other: routes("shop/alpha", "reviews"), ours: ourRoutes(0), conflict: true},
		{name: "younger, but private and so first for its clients", other: exported(age(routes("bank/theirs", fqdn), 1), "."), ours: ourRoutes(0), conflict: true},
		{name: "younger wildcard", other: age(routes("shop/mine", "*.local"), 1), ours: ourRoutes(0)},
		{name: "older wildcard", other: routes("shop/mine", "*.local"), ours: ourRoutes(1), conflict: true},
	} {
		got := istio.HostProblems(service(), domain, []*networkingv1.VirtualService{c.other}, nil, c.ours)
		if !c.conflict {
			if len(got) != 0 {
				t.Errorf("%s: %v", c.name, got)
			}
			continue
		}
		want := "VirtualService " + c.other.Namespace + "/" + c.other.Name + " routes host " + fqdn + " in the mesh already"
		if len(got) != 1 || got[0].Kind != intent.Conflict || !strings.HasPrefix(got[0].String(), want) {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestHostProblemsNameTheHostThatIsListed: what is to be removed is what the owner finds in the object.
func TestHostProblemsNameTheHostThatIsListed(t *testing.T) {
	for _, c := range []struct {
		other *networkingv1.VirtualService
		want  string // the end of the sentence
	}{
		{routes("bank/theirs", fqdn), `in the mesh already; remove host "` + fqdn + `" from it; grayscale never edits it`},
		{routes("shop/mine", "ratings", "reviews"), `in the mesh already, by its host "reviews"; remove host "reviews" from it; grayscale never edits it`},
		{routes("bank/theirs", "*.shop.svc.cluster.local"), `in the mesh already, by its host "*.shop.svc.cluster.local"; ` +
			`list the hosts that it needs in place of "*.shop.svc.cluster.local" in it; grayscale never edits it`},
		{at(routes("shop/mine", "reviews"), "edge", "mesh"), `remove host "reviews" from it, or the gateway mesh; grayscale never edits it`},
	} {
		got := istio.HostProblems(service(), domain, []*networkingv1.VirtualService{c.other}, nil, nil)
		if len(got) != 1 || !strings.HasSuffix(got[0].String(), c.want) {
			t.Errorf("got %v\nwant %s", got, c.want)
		}
	}
}

func TestHostKeysFindEveryHolder(t *testing.T) {
	vs := routes("bank/theirs", "reviews.shop", "ratings", "*.shop.svc.cluster.local", fqdn, "example.com", "a.b.c")
	want := []string{"*.shop.svc.cluster.local", "a.b.c", "example.com", "example.com.svc.cluster.local", "ratings.bank.svc.cluster.local", "reviews.shop", fqdn}
	slices.Sort(want)
	if got := istio.HostKeys(vs, domain); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := istio.HostKeys(rule("bank/theirs", "ratings", 0), domain); !slices.Equal(got, []string{"ratings.bank.svc.cluster.local"}) {
		t.Errorf("got %q", got)
	}
	if got := istio.HostKeys(&metav1.ObjectMeta{}, domain); got != nil {
		t.Errorf("got %q", got)
	}
}

func TestNameTaken(t *testing.T) {
	theirs := routes("shop/reviews-grayscale", "ratings")
	asOurs := istio.HostProblems(service(), domain, nil, nil, theirs)
	asOther := istio.HostProblems(service(), domain, []*networkingv1.VirtualService{theirs}, nil, nil)
	asRule := istio.RuleProblems(service(), domain, []*networkingv1.DestinationRule{rule("shop/reviews-grayscale", "ratings", 0)}, root, "", "")
	for name, got := range map[string][]intent.Problem{"VirtualService": asOurs, "VirtualService ": asOther, "DestinationRule": asRule} {
		want := strings.TrimSpace(name) + " shop/reviews-grayscale has the name that the release needs, but grayscale did not write it; rename it"
		if len(got) != 1 || got[0].Kind != intent.Conflict || got[0].Reason != istio.ReasonNameTaken || got[0].String() != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	ours := istio.DestinationRule(service(), domain, subsetsOf("v1"), nil, root, nil)
	if got := istio.RuleProblems(service(), domain, []*networkingv1.DestinationRule{ours}, root, "", "v1"); len(got) != 0 {
		t.Errorf("ours: %v", got)
	}
}

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
		{name: "same namespace, same subset", others: []*networkingv1.DestinationRule{withSubset(rule("shop/mine", fqdn, 0), "v2", v2)}},
		{name: "same namespace, own subset", others: []*networkingv1.DestinationRule{withSubset(rule("shop/mine", fqdn, 0), "eu", map[string]string{"zone": "eu"})}},
		{name: "same namespace, subset with other labels", others: []*networkingv1.DestinationRule{withSubset(rule("shop/mine", fqdn, 0), "v2", map[string]string{"zone": "eu"})},
			want: `DestinationRule shop/mine for host ` + fqdn + ` has a subset "v2" with other labels than version: v2; rename that subset, or give the candidate another version`},
		{name: "same namespace, stable's subset with other labels", others: []*networkingv1.DestinationRule{withSubset(rule("shop/mine", fqdn, 0), "v1", map[string]string{"zone": "eu"})},
			want: `DestinationRule shop/mine for host ` + fqdn + ` has a subset "v1" with other labels than version: v1, which is stable's version; ` +
				`rename that subset, or give it the label version: v1 alone`},
		{name: "private in the namespace", others: []*networkingv1.DestinationRule{rule("shop/mine", fqdn, 0, ".")},
			want: `DestinationRule shop/mine for host ` + fqdn + ` has exportTo ["."]: clients in other namespaces would not know the subsets of the release; remove exportTo`},
		{name: "two that differ", others: []*networkingv1.DestinationRule{rule("shop/a", fqdn, 0), age(rule("shop/b", "reviews", 0, "*"), 1)},
			want: `DestinationRule shop/b for host reviews has exportTo ["*"] where DestinationRule a has []: Istio does not merge the two; write the same`},
		{name: "selector", others: []*networkingv1.DestinationRule{withSelector(rule("shop/mine", fqdn, 0))},
			want: `DestinationRule shop/mine for host ` + fqdn + ` has a workloadSelector`},
		{name: "selector in a client's namespace", others: []*networkingv1.DestinationRule{withSelector(rule("bank/theirs", "*.local", 0))},
			want: `DestinationRule bank/theirs for host *.local has a workloadSelector`},
		{name: "client's namespace", others: []*networkingv1.DestinationRule{rule("bank/theirs", fqdn, 0)},
			want: `DestinationRule bank/theirs for host ` + fqdn + ` hides every other rule for it from clients in namespace bank`},
		{name: "client's namespace, private, wildcard", others: []*networkingv1.DestinationRule{rule("bank/theirs", "*.local", 0, ".")},
			want: `DestinationRule bank/theirs for host *.local hides every other rule for it from clients in namespace bank: ` +
				`they would not know the subsets of the release; name the hosts that it needs in place of the wildcard`},
		{name: "a third namespace's, for others", others: []*networkingv1.DestinationRule{rule("bank/theirs", fqdn, 0, "shop")}},
		{name: "client's own Service of that name", others: []*networkingv1.DestinationRule{rule("bank/theirs", "reviews", 0)}},
		{name: "root", others: []*networkingv1.DestinationRule{rule(root+"/all", "*.local", 77)}},
		{name: "private in the root", others: []*networkingv1.DestinationRule{rule(root+"/all", "*.local", 77, ".")},
			want: `DestinationRule istio-system/all for host *.local hides every other rule for it from clients in namespace istio-system`},
		{name: "root, for some namespaces", others: []*networkingv1.DestinationRule{rule(root+"/all", "*.local", 77, "bank", "shop")},
			want: `DestinationRule istio-system/all for host *.local has exportTo ["bank" "shop"]: clients in other namespaces`},
		{name: "root, hidden by the user's", others: []*networkingv1.DestinationRule{rule(root+"/all", "*.local", 77, "bank"), rule("shop/mine", "reviews", 0)}},
		{name: "root with subsets", others: []*networkingv1.DestinationRule{withSubset(rule(root+"/all", fqdn, 77), "v2", v2)},
			want: `DestinationRule istio-system/all for host ` + fqdn + ` has subsets, which the release would take away from those who route to them`},
		{name: "wildcard in the namespace, private", others: []*networkingv1.DestinationRule{rule("shop/all", "*.local", 77, ".")},
			want: `DestinationRule shop/all for host *.local has exportTo ["."]`},
		{name: "farther wildcard, private", others: []*networkingv1.DestinationRule{rule("shop/all", "*.local", 77, "."), rule("shop/near", "*.cluster.local", 1)}},
	} {
		for range 2 { // in both orders
			got := istio.RuleProblems(service(), domain, c.others, root, "v2", "v1")
			switch {
			case c.want == "" && len(got) != 0:
				t.Errorf("%s: %v", c.name, got)
			case c.want != "" && (len(got) != 1 || got[0].Kind != intent.Conflict || !strings.HasPrefix(got[0].String(), c.want)):
				t.Errorf("%s:\n got %v\nwant %s", c.name, got, c.want)
			}
			slices.Reverse(c.others)
		}
	}
}

// TestServiceInTheRootNamespace: rules there are the Service's own then.
func TestServiceInTheRootNamespace(t *testing.T) {
	s := service()
	s.Namespace = root
	others := []*networkingv1.DestinationRule{rule(root+"/all", "*.local", 77)}
	if got := istio.RuleProblems(s, domain, others, root, "", ""); len(got) != 0 {
		t.Errorf("%v", got)
	}
	dr := istio.DestinationRule(s, domain, subsetsOf("v1"), others, root, nil)
	if dr.Spec.TrafficPolicy.GetConnectionPool().GetTcp().GetMaxConnections() != 77 {
		t.Errorf("%v", dr)
	}
}
