package istio_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"pgregory.net/rapid"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

func only(version string) release.Traffic {
	return release.Traffic{Weights: []release.Weight{{Version: version, Share: intent.Hundred}}}
}

func split(weights ...release.Weight) release.Traffic { return release.Traffic{Weights: weights} }

func TestWeights(t *testing.T) {
	for _, c := range []struct {
		traffic release.Traffic
		want    []int32
	}{
		{only("v1"), []int32{0}},
		{split(release.Weight{Version: "v1", Share: 9000}, release.Weight{Version: "v2", Share: 1000}), []int32{90, 10}},
		{split(release.Weight{Version: "v1", Share: 9950}, release.Weight{Version: "v2", Share: 50}), []int32{9950, 50}},
		{split(release.Weight{Version: "v1", Share: 6800}, release.Weight{Version: "v2", Share: 1250},
			release.Weight{Version: "v3", Share: 1950}), []int32{6800, 1250, 1950}},
	} {
		vs := virtualService(service(release.Port{Number: 8080}), c.traffic, release.State{})
		var http, tcp []int32
		for _, d := range vs.Spec.Http[0].Route {
			http = append(http, d.Weight)
		}
		for _, d := range vs.Spec.Tcp[0].Route {
			tcp = append(tcp, d.Weight)
		}
		if !slices.Equal(http, c.want) || !slices.Equal(tcp, c.want) {
			t.Errorf("%+v: http %v, tcp %v, want %v", c.traffic, http, tcp, c.want)
		}
	}
}

// TestPortMatch: the only route of its kind names no port, unless it is for connections and there are other ports.
func TestPortMatch(t *testing.T) {
	for _, c := range []struct {
		ports     []release.Port
		http, tcp []uint32 // 0: without a match
	}{
		{[]release.Port{{Name: "http", Number: 80}}, []uint32{0}, nil},
		{[]release.Port{{Name: "http", Number: 80}, {Name: "tcp", Number: 90}, {Name: "http", Number: 53, Protocol: "UDP"}},
			[]uint32{0}, []uint32{90}},
		{[]release.Port{{Name: "http", Number: 9080}}, []uint32{0}, nil},
		{[]release.Port{{Name: "tcp", Number: 90}}, nil, []uint32{0}},
		{[]release.Port{{Name: "tcp", Number: 53}, {Name: "dns", Number: 53, Protocol: "UDP"}}, nil, []uint32{0}},
		{[]release.Port{{Name: "tcp", Number: 90}, {Name: "redis", Number: 91}}, nil, []uint32{90, 91}},
		{[]release.Port{{Name: "tcp", Number: 90}, {Name: "https", Number: 443}}, nil, []uint32{90}},
		{[]release.Port{{Number: 9080}}, []uint32{0}, []uint32{0}},
		{[]release.Port{{Number: 9080}, {Name: "tcp", Number: 90}}, []uint32{0}, []uint32{9080, 90}},
		{[]release.Port{{Name: "http", Number: 80}, {Name: "grpc", Number: 90}}, []uint32{80, 90}, nil},
		{[]release.Port{{Name: "http", Number: 80}, {Number: 90}}, []uint32{80, 90}, []uint32{90}},
	} {
		vs := virtualService(service(c.ports...), only("v1"), release.State{})
		var http, tcp []uint32
		for _, r := range vs.Spec.Http {
			http = append(http, portOf(r.Match))
		}
		for _, r := range vs.Spec.Tcp {
			tcp = append(tcp, portOf(r.Match))
		}
		if !slices.Equal(http, c.http) || !slices.Equal(tcp, c.tcp) {
			t.Errorf("%+v: matches %v for requests and %v for connections, want %v and %v", c.ports, http, tcp, c.http, c.tcp)
		}
	}
}

func portOf[M interface{ GetPort() uint32 }](matches []M) uint32 {
	if len(matches) == 0 {
		return 0
	}
	return matches[0].GetPort()
}

// traffic draws what the engine may ask for: weights that add up, and mirrors.
func traffic(rt *rapid.T) release.Traffic {
	versions := rapid.SliceOfNDistinct(version(), 1, 5, rapid.ID[string]).Draw(rt, "versions")
	var out release.Traffic
	rest := intent.Hundred
	for i, v := range versions {
		least := intent.Percent(len(versions) - 1 - i) // leaves a share for each of the rest
		share := intent.Percent(rapid.IntRange(1, int(rest-least)).Draw(rt, "share"))
		if rapid.Bool().Draw(rt, "whole") && share > 100 {
			share -= share % 100
		}
		if i == len(versions)-1 {
			share = rest
		}
		rest -= share
		out.Weights = append(out.Weights, release.Weight{Version: v, Share: share})
	}
	for _, v := range rapid.SliceOfNDistinct(version(), 0, 3, rapid.ID[string]).Draw(rt, "mirrors") {
		out.Mirrors = append(out.Mirrors,
			release.Weight{Version: v, Share: intent.Percent(rapid.IntRange(1, 10000).Draw(rt, "percent"))})
	}
	slices.SortFunc(out.Weights, byVersion)
	slices.SortFunc(out.Mirrors, byVersion)
	return out
}

func byVersion(a, b release.Weight) int {
	if a.Version < b.Version {
		return -1
	}
	return 1
}

func ports(rt *rapid.T) []release.Port {
	port := rapid.Custom(func(rt *rapid.T) release.Port {
		return release.Port{
			Name:     rapid.SampledFrom([]string{"", "http", "grpc-x", "tcp", "web", "redis"}).Draw(rt, "name"),
			Number:   rapid.SampledFrom([]int32{25, 80, 443, 3306, 8080, 9000}).Draw(rt, "number"),
			Protocol: rapid.SampledFrom([]string{"", "TCP"}).Draw(rt, "protocol"),
		}
	})
	return rapid.SliceOfNDistinct(port, 1, 4, func(p release.Port) int32 { return p.Number }).Draw(rt, "ports")
}

// TestReadTraffic: weights add up, are read back as they were written, and equal themselves after a round trip through
// an API server.
func TestReadTraffic(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s, want := service(ports(rt)...), traffic(rt)
		bypasses := [][]release.Bypass{nil, {{}},
			{{Clients: release.Clients{Namespace: "bank", Labels: map[string]string{"a": "b"}}}}}
		st := release.State{Bypasses: rapid.SampledFrom(bypasses).Draw(rt, "bypasses"), Traffic: want,
			PinnedAt: time.Unix(1700000000, 123456789), Stable: release.Member{Deployment: "reviews-v1",
				Version: want.Weights[0].Version}}
		vs := virtualService(s, want, st)
		for _, r := range vs.Spec.Http {
			var sum int32
			for _, d := range r.Route {
				sum += d.Weight
			}
			if len(r.Route) > 1 && sum != 100 && sum != 10000 {
				rt.Fatalf("weights sum to %d: %v", sum, r)
			}
		}
		if len(vs.Spec.Http) == 0 {
			want.Mirrors = nil // connections cannot be copied
		}
		got, ok := istio.ReadTraffic(vs)
		if !ok || !slices.Equal(got.Weights, want.Weights) || !slices.Equal(got.Mirrors, want.Mirrors) {
			rt.Fatalf("read %+v (%t), want %+v", got, ok, want)
		}
		subsets := istio.ReferencedSubsets(vs)
		if len(subsets) != len(want.Versions()) {
			rt.Fatalf("subsets %v for versions %v", subsets, want.Versions())
		}
		if travelled := throughJSON(rt, vs); !istio.EqualRoutes(travelled, vs) || !istio.EqualRoutes(vs, travelled) {
			rt.Fatalf("not equal after JSON:\n%+v\n%+v", travelled, vs)
		}
	})
}

func throughJSON[T any](t interface{ Fatal(...any) }, in *T) *T {
	raw, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	out := new(T)
	if err := json.Unmarshal(raw, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestReadTrafficOfEditedRoutes(t *testing.T) {
	build := func() *networkingv1.VirtualService {
		want := split(release.Weight{Version: "v1.0", Share: 9000}, release.Weight{Version: "v2", Share: 1000})
		return virtualService(service(release.Port{Name: "http", Number: 80}, release.Port{Name: "tcp", Number: 90}), want,
			release.State{Traffic: want})
	}
	second := func(vs *networkingv1.VirtualService) *v1alpha3.Destination {
		return vs.Spec.Http[0].Route[1].Destination
	}
	for name, edit := range map[string]func(*networkingv1.VirtualService){
		"weights do not sum":       func(vs *networkingv1.VirtualService) { vs.Spec.Http[0].Route[0].Weight = 50 },
		"ports differ":             func(vs *networkingv1.VirtualService) { vs.Spec.Tcp[0].Route = vs.Spec.Tcp[0].Route[:1] },
		"subset without a version": func(vs *networkingv1.VirtualService) { second(vs).Subset = "V3" },
		"no subset":                func(vs *networkingv1.VirtualService) { second(vs).Subset = "" },
		"old mirror field":         func(vs *networkingv1.VirtualService) { vs.Spec.Http[0].Mirror = second(vs) },
		"no routes":                func(vs *networkingv1.VirtualService) { vs.Spec.Http, vs.Spec.Tcp = nil, nil },
		"null route":               func(vs *networkingv1.VirtualService) { vs.Spec.Http[0], vs.Spec.Tcp[0] = nil, nil },
	} {
		vs := build()
		edit(vs)
		if got, ok := istio.ReadTraffic(vs); ok {
			t.Errorf("%s: read as %+v", name, got)
		}
		istio.ReferencedSubsets(vs)
		if istio.EqualRoutes(vs, build()) {
			t.Errorf("%s: the edit is not seen", name)
		}
	}
}

func TestReferencedSubsetsOfForeignRoutes(t *testing.T) {
	vs := &networkingv1.VirtualService{}
	err := json.Unmarshal([]byte(`{"spec":{"hosts":["reviews"],
		"http":[{"route":[{"destination":{"host":"reviews","subset":"b"}},{"destination":{"host":"reviews"}}],
			"mirror":{"host":"reviews","subset":"c"}},
			{"route":[{"destination":{"host":"reviews","subset":"b"}}],
			"mirrors":[{"destination":{"host":"reviews","subset":"d"}}]}],
		"tcp":[{"route":[{"destination":{"host":"reviews","subset":"a"}}]}],
		"tls":[{"match":[{"sniHosts":["reviews"]}],"route":[{"destination":{"host":"reviews","subset":"e"}}]}]}}`), vs)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(istio.ReferencedSubsets(vs)), "[a b c d e]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestVirtualServiceObject(t *testing.T) {
	st := release.State{Stable: release.Member{Deployment: "reviews-v1", Version: "v1"}, Traffic: only("v1")}
	vs := virtualService(service(release.Port{Name: "http", Number: 80}), only("v1"), st)
	got, ok := mesh.ReadState(vs)
	if !ok || got.Stable != st.Stable || !mesh.Ours(vs) {
		t.Errorf("state %+v (%t)", got, ok)
	}
	current := throughJSON(t, vs)
	current.ResourceVersion = "42"
	current.Labels["team"], current.Annotations["note"] = "shop", "hands off"
	m := around(service(release.Port{Name: "http", Number: 80}))
	m.VirtualService = current
	if again := m.RenderRoutes(mesh.Rules(only("v1"), nil), st); again.Object.GetResourceVersion() != "42" || !again.Same {
		t.Errorf("%+v", again)
	}
	st.Stable = release.Member{Deployment: "reviews-v2", Version: "v2"}
	if again := m.RenderRoutes(mesh.Rules(only("v1"), nil), st); again.Same || again.Upgrades || again.RestsOnDerived {
		t.Errorf("a change of state alone is not seen, or as more: %+v", again)
	}
	for name, edit := range map[string]func(*networkingv1.VirtualService){
		"label removed": func(vs *networkingv1.VirtualService) { delete(vs.Labels, mesh.ManagedBy) },
		"state removed": func(vs *networkingv1.VirtualService) { delete(vs.Annotations, intent.KeyState) },
		"owner removed": func(vs *networkingv1.VirtualService) { vs.OwnerReferences = nil },
		"other owner":   func(vs *networkingv1.VirtualService) { vs.OwnerReferences[0].UID = "1b" },
		"route renamed": func(vs *networkingv1.VirtualService) { vs.Spec.Http[0].Name = "mine" },
		"gateway added": func(vs *networkingv1.VirtualService) { vs.Spec.Gateways = append(vs.Spec.Gateways, "edge") },
	} {
		edited := throughJSON(t, vs)
		edit(edited)
		if istio.EqualRoutes(edited, vs) {
			t.Errorf("%s: not seen", name)
		}
	}
}

func TestDamagedState(t *testing.T) {
	vs := virtualService(service(release.Port{Number: 80}), only("v1"), release.State{})
	dr := destinationRule(service(), subsetsOf("v1.0", "v2"))
	dr.Spec.Subsets = append(dr.Spec.Subsets,
		&v1alpha3.Subset{Name: "mine", Labels: map[string]string{release.VersionLabel: "v3"}})
	for _, damage := range []string{"", "{", "[]", `{"stable": 1, "added": 1}`} {
		vs.Annotations[intent.KeyState], dr.Annotations[intent.KeyState] = damage, damage
		if st, ok := mesh.ReadState(vs); ok {
			t.Errorf("state %q read as %+v", damage, st)
		}
		if sub, ok := istio.ReadSubsets(dr); ok || !maps.Equal(sub.Added, map[string]time.Time{"v1.0": {}, "v2": {}}) {
			t.Errorf("subsets %q read as %+v, want those of the rule that are ours", damage, sub)
		}
	}
	delete(vs.Annotations, intent.KeyState)
	if _, ok := mesh.ReadState(vs); ok || !mesh.Ours(vs) {
		t.Error("an absent state is read, or the label does not tell ours")
	}
}
