package routing_test

import (
	"slices"
	"strings"
	"testing"

	"istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
)

// twoServices are the Services api and api-internal, with stable api-v1 behind both, before their routes are written.
func twoServices() *town {
	service := func(name string) release.Service {
		return release.Service{Namespace: "shop", Name: name, Selector: map[string]string{"app": "api"}, Ports: []release.Port{{Name: "http", Number: 80}}}
	}
	stable := release.Deployment{Name: "api-v1", Replicas: 1, TemplateLabels: map[string]string{"app": "api"}}
	return newTown(routing.Facts{Mesh: &istio.Mesh{}, Service: service("api"), Deployments: []release.Deployment{stable},
		Beside: []routing.Facts{{Mesh: &istio.Mesh{}, Service: service("api-internal")}}}, twoSeconds)
}

// pin adds routes of these Services to stable.
func (w *town) pin(services ...string) *town {
	for n := range w.facts {
		if slices.Contains(services, w.facts[n].Service.Name) {
			pin(&w.facts[n], release.State{Stable: release.Member{Deployment: "api-v1", Version: "v1"}})
		}
	}
	return w
}

// admit is the admission of a candidate that names these Services.
func (w *town) admit(named string) routing.Verdict {
	d := release.Deployment{Name: "api-v2", Replicas: 1, TemplateLabels: map[string]string{"app": "api", "version": "v2"},
		Annotations: map[string]string{intent.KeyStrategy: "canary", intent.KeyWeight: "0"}}
	if named != "" {
		d.Annotations[intent.KeyService] = named
	}
	a := routing.Admission{Namespace: "shop", New: d, Around: func(service string) routing.Facts {
		n := slices.IndexFunc(w.facts, func(f routing.Facts) bool { return f.Service.Name == service })
		if n < 0 {
			return routing.Facts{Service: release.Service{Namespace: "shop", Name: service, Missing: true}}
		}
		return w.one(n)
	}}
	for _, f := range w.facts {
		a.Services = append(a.Services, f.Service)
	}
	return routing.Admit(a, twoSeconds)
}

// A candidate is held until every Service that would send it requests is pinned. A warning says what it waits for.
func TestAdmitHoldsForEveryService(t *testing.T) {
	second := func(w *town, change func(*routing.Facts)) *town {
		change(&w.facts[1])
		return w
	}
	theirs := &networkingv1.VirtualService{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "theirs"}, Spec: v1alpha3.VirtualService{Hosts: []string{"api-internal"}}}
	for _, c := range []struct {
		name, named string
		town        *town
		hold        bool
		warning     string // part of the only one; empty for none
	}{
		{"none is pinned", "api", twoServices(), true, ""},
		{"the one that it names is pinned", "api", twoServices().pin("api"), true, ""},
		{"the other one is pinned", "api", twoServices().pin("api-internal"), true, ""},
		{"both are pinned", "api", twoServices().pin("api", "api-internal"), false, ""},
		{"one of two that it names is pinned", "api, api-internal", twoServices().pin("api"), true, ""},
		{"two that it names are pinned", "api, api-internal", twoServices().pin("api", "api-internal"), false, ""},
		{"it names none, and both are pinned", "", twoServices().pin("api", "api-internal"), true, "2 Services select the pods of Deployment shop/api-v2: api, api-internal; set grayscale.dev/service"},
		{"one that it names is not there", "api, gone", twoServices().pin("api", "api-internal"), true, `names Service "gone" in grayscale.dev/service, which does not exist`},
		{"the other one is headless", "api", second(twoServices().pin("api"), func(f *routing.Facts) { f.Service.Headless = true }), false,
			"Service api-internal, which grayscale.dev/service does not name, cannot be pinned to stable, so that its clients reach the candidate's pods: Service shop/api-internal is headless"},
		{"the other one has no TCP port", "api", second(twoServices().pin("api"), func(f *routing.Facts) { f.Service.Ports[0].Protocol = "UDP" }), false, ""},
		{"the other one selects it alone", "api", second(twoServices().pin("api"), func(f *routing.Facts) { f.Service.Selector["version"] = "v2" }), false, ""},
		{"the other one has a TLS port", "api", second(twoServices().pin("api"), func(f *routing.Facts) { f.Service.Ports[0].Name = "https" }), true,
			"Service api-internal, which grayscale.dev/service does not name, cannot be pinned to stable: Service shop/api-internal declares port 80 (https) as TLS"},
		{"somebody routes the other one", "api", second(twoServices().pin("api"), func(f *routing.Facts) { is(f).OtherVirtualServices = []*networkingv1.VirtualService{theirs} }), true,
			"Service api-internal, which grayscale.dev/service does not name, cannot be pinned to stable: VirtualService shop/theirs routes host api-internal.shop.svc.cluster.local in the mesh already, by its host \"api-internal\"; remove host"},
	} {
		v := c.town.admit(c.named)
		if v.Hold != c.hold || len(v.Denied) > 0 {
			t.Errorf("%s: held is %v, want %v; denied for %v", c.name, v.Hold, c.hold, v.Denied)
		}
		switch {
		case c.warning == "" && len(v.Warnings) > 0:
			t.Errorf("%s: warnings %v, want none", c.name, v.Warnings)
		case c.warning != "" && (len(v.Warnings) != 1 || !strings.Contains(v.Warnings[0].String(), c.warning)):
			t.Errorf("%s: warnings %v, want %q", c.name, v.Warnings, c.warning)
		}
	}
}
