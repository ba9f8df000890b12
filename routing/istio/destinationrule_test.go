package istio_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"istio.io/api/networking/v1alpha3"
	typev1beta1 "istio.io/api/type/v1beta1"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

// born is when the users' objects were created; age makes one younger, in seconds.
var born = time.Unix(1700000000, 0).UTC()

func age[T metav1.Object](o T, seconds int) T {
	o.SetCreationTimestamp(metav1.NewTime(born.Add(time.Duration(seconds) * time.Second)))
	return o
}

// rule is a user's DestinationRule; name is "namespace/name", connections is its policy (0: none).
func rule(name, host string, connections int32, exportTo ...string) *networkingv1.DestinationRule {
	dr := &networkingv1.DestinationRule{}
	dr.Namespace, dr.Name, _ = strings.Cut(name, "/")
	dr.Spec.Host, dr.Spec.ExportTo = host, exportTo
	if connections > 0 {
		dr.Spec.TrafficPolicy = &v1alpha3.TrafficPolicy{ConnectionPool: &v1alpha3.ConnectionPoolSettings{
			Tcp: &v1alpha3.ConnectionPoolSettings_TCPSettings{MaxConnections: connections}}}
	}
	return age(dr, 0)
}

func withSubset(dr *networkingv1.DestinationRule, name string, labels map[string]string) *networkingv1.DestinationRule {
	dr.Spec.Subsets = append(dr.Spec.Subsets, &v1alpha3.Subset{Name: name, Labels: labels})
	return dr
}

func withSelector(dr *networkingv1.DestinationRule) *networkingv1.DestinationRule {
	dr.Spec.WorkloadSelector = &typev1beta1.WorkloadSelector{MatchLabels: map[string]string{"app": "client"}}
	return dr
}

func subsetsOf(versions ...string) release.Subsets {
	sub := release.Subsets{Added: map[string]time.Time{}}
	for i, v := range versions {
		sub.Added[v] = born.Add(time.Duration(i) * time.Second)
	}
	return sub
}

func TestDestinationRuleObject(t *testing.T) {
	sub := subsetsOf("v2", "v1.0", "v1")
	dr := destinationRule(service(), sub)
	if got, want := istio.Subsets(dr), []string{"v1", istio.SubsetName("v1.0"), "v2"}; !slices.Equal(got, want) {
		t.Errorf("subsets %v, want %v", got, want)
	}
	for _, v := range []string{"v1", "v1.0", "v2"} {
		if !has(dr, v) {
			t.Errorf("no subset of %s", v)
		}
	}
	if has(dr, "v10") || dr.Spec.Host != fqdn || dr.Spec.TrafficPolicy != nil || dr.Spec.ExportTo != nil ||
		!mesh.Ours(dr) {
		t.Errorf("got %v", dr)
	}
	current := throughJSON(t, dr)
	current.ResourceVersion = "7"
	m := around(service())
	m.DestinationRule = current
	if again := m.RenderSubsets(sub); again.Object.GetResourceVersion() != "7" || !again.Same || again.RestsOnDerived {
		t.Errorf("not equal after JSON, or resourceVersion is lost: %+v", again)
	}
	dr.Spec.Subsets[0].Labels = map[string]string{"version": "v1", "track": "a"}
	if has(dr, "v1") || istio.EqualRule(current, dr) {
		t.Error("another label on a subset is not seen")
	}
}

func TestDestinationRuleIsEqualToItself(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		sub := subsetsOf(rapid.SliceOfDistinct(version(), rapid.ID[string]).Draw(rt, "versions")...)
		others := []*networkingv1.DestinationRule{
			rule("shop/mine", "reviews", int32(rapid.IntRange(0, 9).Draw(rt, "policy"))),
			rule(root+"/all", "*.local", 5, rapid.SampledFrom([][]string{nil, {"*"}}).Draw(rt, "exportTo")...)}
		if rapid.Bool().Draw(rt, "alone") {
			others = others[1:]
		}
		dr := destinationRule(service(), sub, others...)
		slices.Reverse(others)
		m := around(service())
		m.DestinationRule, m.OtherDestinationRules = throughJSON(rt, dr), others
		if again := m.RenderSubsets(sub); !again.Same {
			rt.Fatalf("not equal:\n%v\n%v", m.DestinationRule, again.Object)
		}
		read, ok := istio.ReadSubsets(dr)
		if !ok || len(read.Added) != len(sub.Added) {
			rt.Fatalf("read %v (%t)", read, ok)
		}
	})
}

// TestNeighbours: the exportTo and the trafficPolicy of our rule beside rules of users.
func TestNeighbours(t *testing.T) {
	const fqdn = "reviews.shop.svc.cluster.local"
	for _, c := range []struct {
		name     string
		others   []*networkingv1.DestinationRule
		exportTo []string
		policy   int32
	}{
		{name: "none"},
		{name: "merged: Istio applies its policy itself",
			others: []*networkingv1.DestinationRule{rule("shop/mine", "reviews", 77)}},
		{name: "merged, exportTo literally", others: []*networkingv1.DestinationRule{rule("shop/mine", fqdn, 77, "*")},
			exportTo: []string{"*"}},
		{name: "merged, the older's exportTo",
			others:   []*networkingv1.DestinationRule{age(rule("shop/a", fqdn, 0), 1), rule("shop/b", "reviews", 0, "*")},
			exportTo: []string{"*"}},
		{name: "merged hides the root's",
			others: []*networkingv1.DestinationRule{rule("shop/mine", fqdn, 0), rule(root+"/all", "*.local", 77)}},
		{name: "root, wildcard", others: []*networkingv1.DestinationRule{rule(root+"/all", "*.local", 77)}, policy: 77},
		{name: "root, exact before wildcard",
			others: []*networkingv1.DestinationRule{rule(root+"/all", "*.local", 1), rule(root+"/one", fqdn, 77)}, policy: 77},
		{name: "root, longest wildcard",
			others: []*networkingv1.DestinationRule{rule(root+"/all", "*.local", 1),
				rule(root+"/shop", "*.shop.svc.cluster.local", 77),
				rule(root+"/other", "*.bank.svc.cluster.local", 2)}, policy: 77},
		{name: "root, short name means another Service",
			others: []*networkingv1.DestinationRule{rule(root+"/one", "reviews", 77)}},
		{name: "namespace's wildcard before the root's",
			others: []*networkingv1.DestinationRule{rule(root+"/one", fqdn, 1), rule("shop/all", "*.local", 77)}, policy: 77},
		{name: "namespace's wildcard without policy",
			others: []*networkingv1.DestinationRule{rule(root+"/one", fqdn, 1), rule("shop/all", "*.local", 0)}},
		{name: "oldest policy of one host",
			others: []*networkingv1.DestinationRule{age(rule("shop/c", "*.local", 1), 2), age(rule("shop/b", "*.local", 77), 1),
				rule("shop/a", "*.local", 0)}, policy: 77},
		{name: "clients' namespaces do not count", others: []*networkingv1.DestinationRule{rule("bank/one", fqdn, 77)}},
		{name: "another host",
			others: []*networkingv1.DestinationRule{rule("shop/one", "ratings", 77),
				rule("shop/two", "*.bank.svc.cluster.local", 77)}},
	} {
		for range 2 { // in both orders
			dr := destinationRule(service(), subsetsOf("v1"), c.others...)
			got := dr.Spec.TrafficPolicy.GetConnectionPool().GetTcp().GetMaxConnections()
			if got != c.policy || !slices.Equal(dr.Spec.ExportTo, c.exportTo) {
				t.Errorf("%s: policy %d, exportTo %q; want %d, %q", c.name, got, dr.Spec.ExportTo, c.policy, c.exportTo)
			}
			slices.Reverse(c.others)
		}
	}
}

// TestExportToIsNeverPrivate: our rule is for all namespaces, whatever a rule says that appears during a release; and
// it follows a rule that would otherwise not be merged with it.
func TestExportToIsNeverPrivate(t *testing.T) {
	m := around(service())
	m.DestinationRule = age(destinationRule(service(), subsetsOf("v1")), 10)
	exportTo := func(others ...*networkingv1.DestinationRule) []string {
		m.OtherDestinationRules = others
		return m.RenderSubsets(subsetsOf("v1")).Object.(*networkingv1.DestinationRule).Spec.ExportTo
	}
	for _, c := range []struct {
		what   string
		others []*networkingv1.DestinationRule
		want   []string
	}{
		{"private", []*networkingv1.DestinationRule{age(rule("shop/a", fqdn, 0, "."), 20)}, nil},
		{"private and older", []*networkingv1.DestinationRule{age(rule("shop/a", fqdn, 0, "."), 5)}, nil},
		{"for one namespace", []*networkingv1.DestinationRule{age(rule("shop/a", fqdn, 0, "bank"), 20)}, nil},
		{"literally another", []*networkingv1.DestinationRule{age(rule("shop/a", fqdn, 0, "*"), 20)}, []string{"*"}},
		{"two that differ: the younger's hides nothing",
			[]*networkingv1.DestinationRule{age(rule("shop/a", fqdn, 0, "*"), 5), age(rule("shop/b", fqdn, 0), 20)}, nil},
	} {
		if got := exportTo(c.others...); !slices.Equal(got, c.want) {
			t.Errorf("%s: exportTo %q, want %q", c.what, got, c.want)
		}
	}
	m.DestinationRule.Spec.ExportTo = []string{"."} // as an older grayscale copied it
	if got := exportTo(rule("shop/a", fqdn, 0, ".")); len(got) > 0 {
		t.Errorf("a private exportTo stays: %q", got)
	}
}

func TestCarriedPolicyIsACopy(t *testing.T) {
	theirs := rule(root+"/all", "*.local", 77)
	before := proto.CloneOf(&theirs.Spec)
	dr := destinationRule(service(), subsetsOf("v1"), theirs)
	dr.Spec.TrafficPolicy.ConnectionPool.Tcp.MaxConnections = 1
	if !proto.Equal(before, &theirs.Spec) {
		t.Error("the user's rule was changed")
	}
}
