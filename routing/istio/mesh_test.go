package istio_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"

	"istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

const (
	domain = "cluster.local"
	root   = "istio-system"
	fqdn   = "reviews.shop.svc.cluster.local"
)

func service(ports ...release.Port) release.Service {
	return release.Service{
		Namespace: "shop", Name: "reviews", UID: "0a", Selector: map[string]string{"app": "reviews"}, Ports: ports}
}

func around(s release.Service) istio.Mesh {
	return istio.Mesh{Service: s, ClusterDomain: domain, RootNamespace: root}
}

func virtualService(s release.Service, t release.Traffic, st release.State) *networkingv1.VirtualService {
	return around(s).RenderRoutes(mesh.Rules(t, st.Bypasses), st).Object.(*networkingv1.VirtualService)
}

func destinationRule(s release.Service, sub release.Subsets,
	others ...*networkingv1.DestinationRule) *networkingv1.DestinationRule {
	m := around(s)
	m.OtherDestinationRules = others
	return m.RenderSubsets(sub).Object.(*networkingv1.DestinationRule)
}

func has(dr *networkingv1.DestinationRule, version string) bool {
	subsets, ok := istio.Mesh{DestinationRule: dr}.Subsets()
	return ok && subsets.Has(version)
}

func hostProblems(ours *networkingv1.VirtualService, others ...*networkingv1.VirtualService) []intent.Problem {
	m := around(service())
	m.VirtualService, m.OtherVirtualServices = ours, others
	return m.HostProblems()
}

func meshRouteProblems(s release.Service, ours *networkingv1.VirtualService,
	routes ...istio.MeshRoute) []intent.Problem {
	m := around(s)
	m.VirtualService, m.MeshRoutes = ours, routes
	return m.HostProblems()
}

func ruleProblems(others []*networkingv1.DestinationRule, version, stable string) []intent.Problem {
	m := around(service())
	m.OtherDestinationRules = others
	return m.SubsetProblems(version, stable)
}

func blind(ours *networkingv1.DestinationRule, others []*networkingv1.DestinationRule,
	versions ...string) []mesh.Blind {
	m := around(service())
	m.DestinationRule, m.OtherDestinationRules = ours, others
	return m.Blind(versions)
}

var (
	web   = release.Port{Name: "http", Number: 80}
	other = release.Port{Name: "tcp-x", Number: 9000}
)

func TestRoutes(t *testing.T) {
	m := around(service(web))
	if _, ok := m.Routes(); ok {
		t.Error("there are routes without a VirtualService")
	}
	st := release.State{Stable: release.Member{Deployment: "reviews-v1", Version: "v1"}}
	m.VirtualService = virtualService(m.Service,
		split(release.Weight{Version: "v1", Share: 9000}, release.Weight{Version: "v2.0", Share: 1000}), st)
	got, ok := m.Routes()
	if !ok || got.Damaged || got.State.Stable != st.Stable || got.Object != mesh.Object(m.VirtualService) ||
		!got.Refers("v1") || !got.Refers("v2.0") || got.Refers("v2") || got.Refers("") {
		t.Errorf("%+v (%t)", got, ok)
	}
	m.VirtualService.Annotations = nil
	if got, ok = m.Routes(); !ok || !got.Damaged || !got.Refers("v1") {
		t.Errorf("without a state: %+v (%t)", got, ok)
	}
	m.VirtualService.Labels = nil
	if got, ok = m.Routes(); ok || got.Refers("v1") {
		t.Errorf("of somebody else: %+v", got)
	}
}

func TestSubsets(t *testing.T) {
	m := around(service(web))
	if _, ok := m.Subsets(); ok {
		t.Error("there are subsets without a DestinationRule")
	}
	m.DestinationRule = destinationRule(m.Service, subsetsOf("v1", "v2.0"))
	m.DestinationRule.Spec.Subsets[0].Labels["track"] = "a"
	got, ok := m.Subsets()
	if !ok || got.Damaged || len(got.State.Added) != 2 || got.Object != mesh.Object(m.DestinationRule) ||
		got.Has("v1") || !got.Has("v2.0") {
		t.Errorf("%+v (%t)", got, ok)
	}
}

// A write says what it rests on: the routes on the rule if they begin to refer to a subset; the rule on the routes if a
// subset goes; and on the users' rules if it follows their exportTo.
func TestWhatWritesRestOn(t *testing.T) {
	m := around(service(web))
	for _, c := range []struct {
		what          string
		before, after release.Traffic
		want          mesh.Write
	}{
		{"the first", release.Traffic{}, only("v1"), mesh.Write{RestsOnDerived: true}},
		{"the same", only("v1"), only("v1"), mesh.Write{Same: true}},
		{"a new version", only("v1"), asks[1], mesh.Write{RestsOnDerived: true}},
		{"other weights", asks[1], asks[2], mesh.Write{}},
		{"a version less", asks[1], only("v2.0"), mesh.Write{}},
		{"a mirror", asks[1], asks[3], mesh.Write{RestsOnDerived: true}},
	} {
		m.VirtualService = nil
		if len(c.before.Weights) > 0 {
			m.VirtualService = virtualService(m.Service, c.before, release.State{})
		}
		got := m.RenderRoutes(mesh.Rules(c.after, nil), release.State{})
		if got.Object = nil; got != c.want {
			t.Errorf("routes, %s: %+v, want %+v", c.what, got, c.want)
		}
	}
	for _, c := range []struct {
		what          string
		before, after []string
		exportTo      []string
		want          mesh.Write
	}{
		{"the first", nil, []string{"v1"}, nil, mesh.Write{RestsOnDerived: true}},
		{"the same", []string{"v1"}, []string{"v1"}, nil, mesh.Write{Same: true}},
		{"a new version", []string{"v1"}, []string{"v1", "v2"}, nil, mesh.Write{}},
		{"a version less", []string{"v1", "v2"}, []string{"v1"}, nil, mesh.Write{RestsOnDerived: true}},
		{"another exportTo", []string{"v1"}, []string{"v1"}, []string{"*"}, mesh.Write{RestsOnOthers: true}},
	} {
		m.DestinationRule = nil
		m.OtherDestinationRules = []*networkingv1.DestinationRule{rule("shop/a", fqdn, 0, c.exportTo...)}
		if len(c.before) > 0 {
			m.DestinationRule = age(destinationRule(m.Service, subsetsOf(c.before...)), 10)
		}
		got := m.RenderSubsets(subsetsOf(c.after...))
		if got.Object = nil; got != c.want {
			t.Errorf("subsets, %s: %+v, want %+v", c.what, got, c.want)
		}
	}
}

// Routes that somebody else wrote under our name do not count as references that ours may rely on.
func TestForeignRoutesAreNotReliedOn(t *testing.T) {
	m := around(service(web))
	m.VirtualService = virtualService(m.Service, only("v1"), release.State{})
	m.VirtualService.Labels, m.VirtualService.Annotations = nil, nil
	if got := m.RenderRoutes(mesh.Rules(only("v1"), nil), release.State{}); got.Same || !got.RestsOnDerived {
		t.Errorf("%+v", got)
	}
}

// TestUpgrade: an earlier grayscale named the port in each route. The write reports an upgrade, not an edit by others.
func TestUpgrade(t *testing.T) {
	m := around(service(web))
	rules := mesh.Rules(asks[1], []release.Bypass{{Clients: release.Clients{Namespace: "bank"}}})
	m.VirtualService = m.RenderRoutes(rules, release.State{}).Object.(*networkingv1.VirtualService)
	m.VirtualService.Spec.Http[1].Match = []*v1alpha3.HTTPMatchRequest{{Port: 80}}
	if got := m.RenderRoutes(rules, release.State{}); got.Same || !got.Upgrades || got.RestsOnDerived {
		t.Errorf("with ports: %+v", got)
	}
	m.VirtualService.Spec.Http[1] = nil
	if got := m.RenderRoutes(rules, release.State{}); got.Same || got.Upgrades {
		t.Errorf("with a null route: %+v", got)
	}
	m.VirtualService = m.RenderRoutes(rules, release.State{}).Object.(*networkingv1.VirtualService)
	m.VirtualService.Spec.Http[1].Route[0].Weight = 80
	if got := m.RenderRoutes(rules, release.State{}); got.Same || got.Upgrades {
		t.Errorf("with another weight: %+v", got)
	}
}

// TestRulesInOrder: each rule is a route, in order; a rule for all clients that precedes another says so in its match.
func TestRulesInOrder(t *testing.T) {
	m := around(service(web, other))
	of := func(namespace string) mesh.Match { return mesh.Match{From: []release.Clients{{Namespace: namespace}}} }
	vs := m.RenderRoutes([]mesh.Rule{
		{Match: of("bank"), Weights: only("v2").Weights},
		{Weights: only("v1").Weights},
		{Match: of("tax")},
	}, release.State{}).Object.(*networkingv1.VirtualService)
	var got []string
	for _, r := range vs.Spec.Http {
		got = append(got, described(r.Match)+r.Route[0].Destination.Subset)
	}
	for _, r := range vs.Spec.Tcp {
		got = append(got, described(r.Match)+r.Route[0].Destination.Subset)
	}
	want := []string{"bank 0 [] -> v2", " 0 [mesh] -> v1", "tax 0 [] -> ",
		"bank 9000 [] -> v2", " 9000 [mesh] -> v1", "tax 9000 [] -> "}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func described[M interface {
	GetSourceNamespace() string
	GetPort() uint32
	GetGateways() []string
}](matches []M) string {
	m := matches[0]
	return fmt.Sprintf("%s %d %s -> ", m.GetSourceNamespace(), m.GetPort(), m.GetGateways())
}

func TestComingBlind(t *testing.T) {
	m := around(service(web))
	m.DestinationRule = age(destinationRule(m.Service, subsetsOf("v1")), 10)
	hiding := []*networkingv1.DestinationRule{rule("bank/theirs", fqdn, 0)}
	if got := m.ComingBlind([]string{"v1"}); got != nil {
		t.Errorf("nothing is asked about: %v", got)
	}
	if m.ComingDestinationRules = hiding; len(m.Blind([]string{"v1"})) != 0 || len(m.ComingBlind([]string{"v1"})) != 1 {
		t.Errorf("one comes: %v now, %v then", m.Blind([]string{"v1"}), m.ComingBlind([]string{"v1"}))
	}
	m.DestinationRule.Labels, m.DestinationRule.Annotations = nil, nil
	if got := m.ComingBlind([]string{"v1"}); got != nil {
		t.Errorf("beside a rule that is not ours: %v", got)
	}
}

func TestInstallProblems(t *testing.T) {
	if got := around(service()).InstallProblems(); got != nil {
		t.Errorf("%v", got)
	}
	const want = "the API server does not serve networking.istio.io/v1; " +
		"install Istio's custom resource definitions; routes follow by themselves"
	got := istio.Mesh{Missing: true}.InstallProblems()
	if len(got) != 1 || got[0].Kind != intent.Pending || got[0].Reason != mesh.ReasonNotInstalled ||
		got[0].String() != want {
		t.Errorf("%v", got)
	}
}

// TestMeshIsData: a Mesh is written in JSON with the keys of golden facts.
func TestMeshIsData(t *testing.T) {
	m := around(service(web))
	m.VirtualService = virtualService(m.Service, only("v1"), release.State{})
	m.DestinationRule = destinationRule(m.Service, subsetsOf("v1"))
	m.OtherVirtualServices = []*networkingv1.VirtualService{routes("shop/a", "reviews")}
	m.OtherDestinationRules = []*networkingv1.DestinationRule{rule("shop/a", "reviews", 1)}
	m.ComingDestinationRules = m.OtherDestinationRules
	m.MeshRoutes = []istio.MeshRoute{meshRoute(istio.HTTPRoute, "shop/mine", 0, 0)}
	m.Missing = true
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(raw, &keys); err != nil {
		t.Fatal(err)
	}
	want := []string{"comingDestinationRules", "destinationRule", "istioMissing", "meshRoutes",
		"otherDestinationRules", "otherVirtualServices", "virtualService"}
	if got := slices.Sorted(maps.Keys(keys)); !slices.Equal(got, want) {
		t.Errorf("keys %q, want %q", got, want)
	}
	read := throughJSON(t, &m)
	read.Service, read.ClusterDomain, read.RootNamespace = m.Service, domain, root
	if !istio.EqualRoutes(read.VirtualService, m.VirtualService) ||
		!istio.EqualRule(read.DestinationRule, m.DestinationRule) || !read.Missing ||
		fmt.Sprint(read.HostProblems()) != fmt.Sprint(m.HostProblems()) {
		t.Errorf("read %+v, want %+v", read, m)
	}
}

// BenchmarkMesh measures what one decision reads if there is nothing to do, beside that many rules of others.
func BenchmarkMesh(b *testing.B) {
	m := around(service(web))
	sub := subsetsOf("v1", "v2")
	st := release.State{Stable: release.Member{Deployment: "reviews-v1", Version: "v1"}, Traffic: asks[1], PinnedAt: born}
	rules := mesh.Rules(asks[1], nil)
	m.VirtualService = m.RenderRoutes(rules, st).Object.(*networkingv1.VirtualService)
	m.DestinationRule = age(m.RenderSubsets(sub).Object.(*networkingv1.DestinationRule), 10)
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m.Routes()
			m.Subsets()
		}
	})
	b.Run("render", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !m.RenderRoutes(rules, st).Same || !m.RenderSubsets(sub).Same {
				b.Fatal("not as wanted")
			}
		}
	})
	for _, n := range []int{0, 5} {
		m.OtherDestinationRules = nil
		for i := range n {
			m.OtherDestinationRules = append(m.OtherDestinationRules, age(rule(fmt.Sprintf("shop/r%d", i), fqdn, 0), 20+i))
		}
		b.Run(fmt.Sprintf("blind/others=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if len(m.Blind([]string{"v1", "v2"})) > 0 {
					b.Fatal("somebody is blind")
				}
			}
		})
	}
}
