package release_test

import (
	"slices"
	"strings"
	"testing"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

func service(name string, selector ...string) release.Service {
	s := release.Service{Namespace: "shop", Name: name, Selector: map[string]string{}}
	for _, pair := range selector {
		key, value, _ := strings.Cut(pair, "=")
		s.Selector[key] = value
	}
	return s
}

func deployment(name string, annotations ...string) release.Deployment {
	d := release.Deployment{Name: name, Replicas: 1, TemplateLabels: map[string]string{"app": "api"}, Annotations: map[string]string{}}
	for i := 0; i < len(annotations); i += 2 {
		d.Annotations[intent.Prefix+annotations[i]] = annotations[i+1]
	}
	return d
}

// services are two that select the pods, one that does not, one that selects one version of them, and one of type
// ExternalName.
func services() []release.Service {
	out := service("elsewhere", "app=api")
	out.ExternalName = true
	return []release.Service{service("api-internal", "app=api"), service("api", "app=api"), service("cart", "app=cart"), service("api-v2", "app=api", "version=v2"), out}
}

func TestPlace(t *testing.T) {
	labelled := deployment("api-v2", "strategy", "canary", "service", "api")
	labelled.TemplateLabels = map[string]string{"app": "api", "version": "v2"}
	for _, c := range []struct {
		name             string
		d                release.Deployment
		services, beside string
		author, problems string
	}{
		{"one is named", deployment("api-v2", "strategy", "canary", "service", "api"), "api", "api-internal", "api", ""},
		{"several are named", deployment("api-v2", "strategy", "canary", "service", "api-internal,api"), "api-internal api", "", "api-internal", ""},
		{"none is named", deployment("api-v2", "strategy", "canary"), "api api-internal", "", "api", "AmbiguousService"},
		{"a plain one serves for all", deployment("api-v1"), "api api-internal", "", "api", ""},
		{"a declared stable", deployment("api-v1", "service", "api-internal"), "api-internal", "api", "api-internal", ""},
		{"one of those named is not there", deployment("api-v2", "strategy", "canary", "service", "gone, api"), "gone api", "api-internal", "api", "NoService"},
		{"none of those named is there", deployment("api-v2", "strategy", "canary", "service", "gone, lost"), "gone lost", "api api-internal", "gone", "NoService NoService"},
		{"one of those named does not select it", deployment("api-v2", "strategy", "canary", "service", "cart, api"), "cart api", "api-internal", "cart", "ServiceDoesNotSelect"},
		{"a Service of its own", labelled, "api", "api-internal api-v2", "api", ""},
	} {
		p := release.Parse("shop", c.d, services()).Placed
		var reasons []string
		for _, problem := range p.Problems {
			reasons = append(reasons, problem.Reason)
			if problem.Kind != intent.Pending || problem.Fix == "" {
				t.Errorf("%s: %+v, want it pending, with a fix", c.name, problem)
			}
		}
		got := [4]string{strings.Join(p.Services, " "), strings.Join(p.Beside, " "), p.Author, strings.Join(reasons, " ")}
		if want := [4]string{c.services, c.beside, c.author, c.problems}; got != want {
			t.Errorf("%s: %q, want %q", c.name, got, want)
		}
	}
	if p := release.Parse("shop", deployment("api-v2", "strategy", "canary"), nil).Placed; len(p.Services) > 0 || p.Author != "" || len(p.Problems) != 1 {
		t.Errorf("no Service: %+v", p)
	}
}

func TestPlaceNamesTheWrongOne(t *testing.T) {
	p := release.Parse("shop", deployment("api-v2", "strategy", "canary", "service", "api, gone, cart"), services()).Placed
	var said []string
	for _, problem := range p.Problems {
		said = append(said, problem.String())
	}
	want := []string{`Deployment shop/api-v2 names Service "gone" in grayscale.dev/service, which does not exist in namespace shop; create it or name an existing Service`,
		`Deployment shop/api-v2 names Service "cart" in grayscale.dev/service, whose selector app=cart does not match the pod template's labels; give the pod template app=cart, or name another Service`}
	if !slices.Equal(said, want) {
		t.Errorf("said %q\nwant %q", said, want)
	}
}

// All Services of a Deployment arrive at the same version of it.
func TestOneVersionForAllServices(t *testing.T) {
	for _, c := range []struct {
		d    release.Deployment
		want string
	}{
		{deployment("api-v2", "strategy", "canary", "service", "api"), "v2"},
		{deployment("api-v1"), "v1"},
		{deployment("api-internal-v2", "strategy", "canary", "service", "api-internal"), "v2"},
		{deployment("api-internal-v2", "strategy", "canary", "service", "api"), "internal-v2"},
		{deployment("other", "service", "api"), "other"},
	} {
		if got := release.Parse("shop", c.d, services()).Label; got != c.want {
			t.Errorf("%s is version %q, want %q", c.d.Name, got, c.want)
		}
	}
}

// Which Deployment is stable behind Service api-internal, with the candidates given.
func TestStableOfSeveralServices(t *testing.T) {
	unnamed, named := deployment("api-v2", "strategy", "canary", "service", "api"), deployment("api-v2", "strategy", "canary", "service", "api-internal")
	kept := deployment("api-v1", "strategy", "canary", "service", "api", "promoted", "v1")
	choosing := deployment("api-v2", "strategy", "canary", "service", "api", "stable", "api-v1")
	for _, c := range []struct {
		name      string
		behind    []release.Deployment
		stable    string
		ambiguous string // the fix
	}{
		{"the only one", []release.Deployment{unnamed, deployment("api-v1")}, "api-v1", ""},
		{"the only one, which declares itself for another", []release.Deployment{unnamed, deployment("api-v1", "service", "api")}, "api-v1", ""},
		{"one that kept its strategy when it became stable of another", []release.Deployment{unnamed, kept}, "api-v1", ""},
		{"two, and nobody says", []release.Deployment{unnamed, deployment("api-v1"), deployment("worker")}, "", `name "api-internal" in grayscale.dev/service on the one that serves it`},
		{"two, and one is stable of another", []release.Deployment{unnamed, deployment("api-v1", "version", "v1"), deployment("worker")}, "", `name "api-internal" in grayscale.dev/service on the one that serves it`},
		{"two, and a candidate of another chooses for that", []release.Deployment{choosing, deployment("api-v1"), deployment("worker")}, "", `name "api-internal" in grayscale.dev/service on the one that serves it`},
		{"two, and one says so", []release.Deployment{unnamed, deployment("api-v1"), deployment("worker", "service", "api-internal")}, "worker", ""},
		{"nobody but the candidate", []release.Deployment{unnamed}, "", ""},
		{"with a candidate, one that is released behind another comes last", []release.Deployment{named, deployment("worker", "service", "api"), deployment("api-v1")}, "api-v1", ""},
		{"with a candidate, one that declares itself for another is better than nobody", []release.Deployment{named, deployment("api-v1", "service", "api")}, "api-v1", ""},
	} {
		roles := release.Assign(service("api-internal", "app=api"), release.ParseAll("shop", c.behind, services()), release.State{}, alone)
		if roles.Stable.Deployment != c.stable {
			t.Errorf("%s: stable is %q, want %q", c.name, roles.Stable.Deployment, c.stable)
		}
		for _, x := range roles.Candidates {
			i := slices.IndexFunc(x.Wrong, func(p intent.Problem) bool { return p.Reason == release.ReasonAmbiguousStable })
			if (i >= 0) != (c.ambiguous != "") || i >= 0 && x.Wrong[i].Fix != c.ambiguous {
				t.Errorf("%s: %v, want the fix %q", c.name, x.Wrong, c.ambiguous)
			}
		}
	}
}

// A candidate gets nothing from a Service that it does not name, and its share does not count there.
func TestACandidateBesideGetsNothing(t *testing.T) {
	s := service("api-internal", "app=api")
	ready := func(d release.Deployment, version string) release.Deployment {
		d.TemplateLabels = map[string]string{"app": "api", "version": version}
		d.Pods = []release.Pods{{Version: version, Ready: 1, Total: 1}}
		return d
	}
	behind := []release.Deployment{ready(deployment("api-v1"), "v1"), ready(deployment("api-v2", "strategy", "canary", "service", "api", "weight", "70"), "v2"),
		ready(deployment("api-v3", "strategy", "canary", "service", "api-internal", "weight", "60"), "v3"),
		ready(deployment("api-v4", "strategy", "mirror", "service", "api"), "v4")}
	roles := release.Assign(s, release.ParseAll("shop", behind, services()), release.State{}, alone)
	for _, c := range roles.Candidates {
		if c.Blocked() || c.Beside == (c.Label == "v3") {
			t.Errorf("%s: beside is %v, problems %v", c.Label, c.Beside, c.Wrong)
		}
	}
	traffic, ok := release.Share(roles, func(string) bool { return true })
	if want := []release.Weight{{Version: "v1", Share: 4000}, {Version: "v3", Share: 6000}}; !ok || !slices.Equal(traffic.Weights, want) || len(traffic.Mirrors) > 0 {
		t.Errorf("traffic is %+v, want %v and no copies", traffic, want)
	}
}

// alone: the candidate has no problems with its surroundings.
func alone(*release.Version, release.Member) []intent.Problem { return nil }
