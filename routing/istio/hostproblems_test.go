package istio_test

import (
	"slices"
	"strings"
	"testing"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

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

// ourRoutes is our VirtualService, created in the given second.
func ourRoutes(seconds int) *networkingv1.VirtualService {
	return age(virtualService(service(release.Port{Name: "http", Number: 80}), only("v1"), release.State{}), seconds)
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
		{name: "younger, but private and so first for its clients",
			other: exported(age(routes("bank/theirs", fqdn), 1), "."), ours: ourRoutes(0), conflict: true},
		{name: "younger wildcard", other: age(routes("shop/mine", "*.local"), 1), ours: ourRoutes(0)},
		{name: "older wildcard", other: routes("shop/mine", "*.local"), ours: ourRoutes(1), conflict: true},
	} {
		got := hostProblems(c.ours, c.other)
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

// TestHostProblemsNameTheHostThatIsListed: the message names the host as its owner finds it in the object.
func TestHostProblemsNameTheHostThatIsListed(t *testing.T) {
	for _, c := range []struct {
		other *networkingv1.VirtualService
		want  string // the end of the sentence
	}{
		{routes("bank/theirs", fqdn), `in the mesh already; remove host "` + fqdn + `" from it; grayscale never edits it`},
		{routes("shop/mine", "ratings", "reviews"),
			`in the mesh already, by its host "reviews"; remove host "reviews" from it; grayscale never edits it`},
		{routes("bank/theirs", "*.shop.svc.cluster.local"), `in the mesh already, by its host "*.shop.svc.cluster.local"; ` +
			`list the hosts that it needs in place of "*.shop.svc.cluster.local" in it; grayscale never edits it`},
		{at(routes("shop/mine", "reviews"), "edge", "mesh"),
			`remove host "reviews" from it, or the gateway mesh; grayscale never edits it`},
	} {
		got := hostProblems(nil, c.other)
		if len(got) != 1 || !strings.HasSuffix(got[0].String(), c.want) {
			t.Errorf("got %v\nwant %s", got, c.want)
		}
	}
}

func TestHostKeysFindEveryHolder(t *testing.T) {
	vs := routes("bank/theirs", "reviews.shop", "ratings", "*.shop.svc.cluster.local", fqdn, "example.com", "a.b.c")
	want := []string{"*.shop.svc.cluster.local", "a.b.c", "example.com", "example.com.svc.cluster.local",
		"ratings.bank.svc.cluster.local", "reviews.shop", fqdn}
	slices.Sort(want)
	if got := istio.HostKeys(vs, domain); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := istio.HostKeys(rule("bank/theirs", "ratings", 0), domain); !slices.Equal(got,
		[]string{"ratings.bank.svc.cluster.local"}) {
		t.Errorf("got %q", got)
	}
	if got := istio.HostKeys(&metav1.ObjectMeta{}, domain); got != nil {
		t.Errorf("got %q", got)
	}
}

func TestNameTaken(t *testing.T) {
	theirs := routes("shop/reviews-grayscale", "ratings")
	asOurs := hostProblems(theirs)
	asOther := hostProblems(nil, theirs)
	asRule := ruleProblems([]*networkingv1.DestinationRule{rule("shop/reviews-grayscale", "ratings", 0)}, "", "")
	for name, got := range map[string][]intent.Problem{"VirtualService": asOurs, "VirtualService ": asOther,
		"DestinationRule": asRule} {
		want := strings.TrimSpace(name) +
			" shop/reviews-grayscale has the name that the release needs, but grayscale did not write it; rename it"
		if len(got) != 1 || got[0].Kind != intent.Conflict || got[0].Reason != mesh.ReasonNameTaken ||
			got[0].String() != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	ours := destinationRule(service(), subsetsOf("v1"))
	if got := ruleProblems([]*networkingv1.DestinationRule{ours}, "", "v1"); len(got) != 0 {
		t.Errorf("ours: %v", got)
	}
}
