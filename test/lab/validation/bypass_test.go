package validation

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"istio.io/api/networking/v1alpha3"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/test/xds"
	"istio.io/istio/pilot/test/xdstest"
	"istio.io/istio/pkg/config"
)

// Namespaces and labels of the clients that are asked for.
var (
	namespaces = []string{"shop", "bank", "tax", "istio-system"}
	apps       = []string{"client", "other"}
)

// TestBlindClientsAreReal: for many sets of rules, the clients that routing/istio takes for blind are those that
// istiod's code gives no subset of ours, or another one of its name.
func TestBlindClientsAreReal(t *testing.T) {
	var cases []struct {
		Rules []struct {
			At, Host, Selects string
			ExportTo, Subsets []string
			Second            int
		} `json:"rules"`
		Blind []string `json:"blind"`
	}
	readYAML(t, "../../../routing/istio/testdata/blind/rules.yaml", &cases)
	if len(cases) < 100 {
		t.Fatalf("%d cases", len(cases))
	}
	e := examples(t)["http"]
	for i, c := range cases {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			var configs []config.Config
			for _, r := range c.Rules {
				configs = append(configs, userRule(t, r.At, r.Host, r.Selects, r.ExportTo, r.Subsets, now.Add(time.Duration(r.Second)*time.Second)))
			}
			s := istiod(t, e.object(), configs...)
			for _, namespace := range append(namespaces, "elsewhere") {
				all := slices.Contains(c.Blind, "*") || slices.Contains(c.Blind, namespace)
				some := false // a namespace counts as blind where some of its workloads are
				for _, app := range append(apps, "third") {
					got, want := blind(s, labelled(namespace, app)), all || slices.Contains(c.Blind, namespace+" app="+app)
					some = some || got
					if got && !want || want && !got && !all {
						t.Errorf("a client %s in %s is blind: %t, want %t of\n%+v", app, namespace, got, want, c)
					}
				}
				if all && !some && !slices.Contains(c.Blind, "*") {
					t.Errorf("no client in %s is blind: %+v", namespace, c)
				}
			}
			if slices.Contains(c.Blind, "*") && !blind(s, labelled("elsewhere", "client")) {
				t.Errorf("not everybody is blind: %+v", c)
			}
		})
	}
}

func userRule(t *testing.T, at, host, selects string, exportTo, subsets []string, born time.Time) config.Config {
	t.Helper()
	spec := map[string]any{"host": host}
	if len(exportTo) > 0 {
		spec["exportTo"] = exportTo
	}
	if selects != "" {
		spec["workloadSelector"] = map[string]any{"matchLabels": map[string]string{"app": selects}}
	}
	var list []map[string]any
	pair := regexp.MustCompile(`^(.*)=(.*)$`)
	for _, s := range subsets {
		m := pair.FindStringSubmatch(s)
		list = append(list, map[string]any{"name": m[1], "labels": map[string]string{"version": m[2]}})
	}
	if len(list) > 0 {
		spec["subsets"] = list
	}
	where := regexp.MustCompile(`^(.*)/(.*)$`).FindStringSubmatch(at)
	return created(parsed(t, map[string]any{"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
		"metadata": map[string]string{"namespace": where[1], "name": where[2]}, "spec": spec}), born)
}

func labelled(namespace, app string) *model.Proxy {
	p := client(namespace)
	p.Labels = map[string]string{"app": app}
	p.Metadata.Labels = p.Labels
	return p
}

// blind: istiod shows the client a rule without v1 and v2, or with others of their names.
func blind(s *xds.FakeDiscoveryServer, p *model.Proxy) bool {
	p = s.SetupProxy(p)
	cfg := p.SidecarScope.DestinationRuleConfig(model.TrafficDirectionOutbound, p, fqdn)
	if cfg == nil {
		return true
	}
	right := 0
	for _, sub := range cfg.Spec.(*v1alpha3.DestinationRule).Subsets {
		if (sub.Name == "v1" || sub.Name == "v2") && maps.Equal(sub.Labels, map[string]string{"version": sub.Name}) {
			right++
		}
	}
	return right != 2
}

// TestBypass: beside a rule that takes our subsets from some clients, these get what they would get without any route
// of ours, all others what they would get without the bypass, to the byte, and no client a route to a cluster that it
// lacks.
func TestBypass(t *testing.T) {
	for name, e := range examplesIn(t, "../../../routing/istio/testdata/bypass/*.yaml") {
		t.Run(name, func(t *testing.T) {
			rules := []config.Config{e.rule(t)}
			for _, o := range e.Hides {
				rules = append(rules, created(parsed(t, o), now.Add(time.Hour)))
			}
			for i, a := range e.Routes[:4] {
				vs := a.routes(t)
				bare := istiod(t, e.object(), rules...)
				with := istiod(t, e.object(), append(rules, vs)...)
				split := istiod(t, e.object(), append(rules, withoutBypass(vs))...)
				lost := 0
				for _, namespace := range namespaces {
					for _, app := range apps {
						what := fmt.Sprintf("ask %d, client %s in %s", i, app, namespace)
						lost += e.bypassed(t, what, bare, with, split, labelled(namespace, app))
					}
				}
				if lost == 0 {
					t.Errorf("ask %d: nobody needs the bypass", i)
				}
			}
		})
	}
}

// bypassed compares what a client gets, and gives the number of clusters that it would lack without the bypass.
func (e example) bypassed(t *testing.T, what string, bare, with, split *xds.FakeDiscoveryServer, p *model.Proxy) int {
	t.Helper()
	if lacks := lacking(t, with, p); len(lacks) > 0 {
		t.Errorf("%s: routes lead to %v, which it lacks", what, lacks)
	}
	lacks := lacking(t, split, p)
	if len(lacks) > 0 {
		same(t, what+", without the split", trafficOf(t, bare, p), trafficOf(t, with, p))
		return len(lacks)
	}
	exact := func(s *xds.FakeDiscoveryServer) string {
		var parts []string
		for _, m := range configured(s, p) {
			raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			parts = append(parts, string(raw))
		}
		slices.Sort(parts) // istiod gives them in any order
		return strings.Join(parts, "")
	}
	if exact(with) != exact(split) {
		same(t, what+", with the split", trafficOf(t, split, p), trafficOf(t, with, p))
		t.Errorf("%s: another configuration than without the bypass", what)
	}
	return 0
}

// withoutBypass is the VirtualService without its routes to the whole Service.
func withoutBypass(c config.Config) config.Config {
	c = c.DeepCopy()
	vs := c.Spec.(*v1alpha3.VirtualService)
	vs.Http = slices.DeleteFunc(vs.Http, func(r *v1alpha3.HTTPRoute) bool { return r.Route[0].Destination.Subset == "" })
	vs.Tcp = slices.DeleteFunc(vs.Tcp, func(r *v1alpha3.TCPRoute) bool { return r.Route[0].Destination.Subset == "" })
	return c
}

// configured are all listeners and routes of a client.
func configured(s *xds.FakeDiscoveryServer, p *model.Proxy) []proto.Message {
	p = s.SetupProxy(p)
	var out []proto.Message
	listeners := s.Listeners(p)
	for _, l := range listeners {
		out = append(out, l)
	}
	for _, r := range s.RoutesFromListeners(p, listeners) {
		out = append(out, r)
	}
	return out
}

// lacking are the clusters of the Service that a client's listeners and routes name, and that it does not have.
func lacking(t *testing.T, s *xds.FakeDiscoveryServer, p *model.Proxy) []string {
	t.Helper()
	clusters := xdstest.ExtractClusters(s.Clusters(s.SetupProxy(p)))
	of := regexp.MustCompile(`outbound\|\d+\|[^|"]*\|` + regexp.QuoteMeta(fqdn))
	var out []string
	for _, m := range configured(s, p) {
		raw, err := protojson.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range of.FindAllString(string(raw), -1) {
			if clusters[name] == nil && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}
