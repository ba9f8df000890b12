// Package security attacks grayscale on the lab as the attackers in SECURITY.md: a Pod without any rights, a caller
// that stole the webhook's path, and a tenant who may do everything in one namespace. Nothing may move another
// namespace's traffic, and every answer takes bounded time and memory.
package security

import (
	"context"
	"os"
	"slices"
	"testing"

	"istio.io/api/networking/v1alpha3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"grayscale.dev/grayscale/test/harness"
)

func TestMain(m *testing.M) {
	os.Exit(harness.Main(m, harness.Options{Grayscale: true}))
}

// Attacks on another namespace's traffic, all at the same time: each has its own victim.
func TestVictim(t *testing.T) {
	for name, attack := range map[string]func(*testing.T){
		"forged questions are not answered":            forgedQuestionsAreNotAnswered,
		"a stolen path moves traffic for a while only": stolenPathMovesTrafficForAWhileOnly,
		"a tenant cannot name another namespace":       tenantCannotNameAnotherNamespace,
		"a tenant's twins concern the tenant alone":    tenantsTwinsConcernTheTenantAlone,
		"a tenant's alias claims nothing":              tenantsAliasClaimsNothing,
		"a tenant's Istio objects are not taken over":  tenantsIstioObjectsAreNotTakenOver,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			attack(t)
		})
	}
}

// victim is a canary with half of Service web's requests, under load. The attacks try to move its traffic.
type victim struct {
	ns, url string
}

func newVictim(t *testing.T) victim {
	t.Helper()
	ns := harness.Namespace(t)
	v := victim{ns: ns, url: harness.URL(ns, "web", 80)}
	apply(t, ns, harness.Service("web"), harness.App{Name: "web-v1", Label: "web"}.Deployment())
	harness.WaitReady(t, ns, "web-v1")
	harness.WaitServed(t, v.url)
	harness.StartLoad(t, v.url, 50)
	apply(t, ns, canary("web-v2", "50").Deployment())
	harness.WaitProgrammed(t, ns, "web-v2", "canary 50% of web")
	return v
}

// canary is a candidate behind Service web.
func canary(name, weight string) harness.App {
	return harness.App{Name: name, Label: "web", Annotations: map[string]string{"grayscale.dev/strategy": "canary", "grayscale.dev/weight": weight}}
}

func apply(t *testing.T, ns string, objects ...any) {
	t.Helper()
	harness.Kubectl(t, harness.YAML(t, objects...), "apply", "-n", ns, "-f", "-")
}

// routes are the specs of all Istio objects in a namespace.
func routes(t *testing.T, ns string) string {
	t.Helper()
	return routesBut(t, ns, "")
}

// routesBut are the routes without those for the clients of one namespace only.
func routesBut(t *testing.T, ns, clients string) string {
	t.Helper()
	ctx, api := context.Background(), harness.Istio().NetworkingV1()
	services, err := api.VirtualServices(ns).List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rules, err := api.DestinationRules(ns).List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var all []any
	for _, o := range services.Items {
		o.Spec.Http = slices.DeleteFunc(o.Spec.Http, func(r *v1alpha3.HTTPRoute) bool {
			return clients != "" && len(r.Match) == 1 && r.Match[0].SourceNamespace == clients
		})
		all = append(all, o.Name, &o.Spec)
	}
	for _, o := range rules.Items {
		all = append(all, o.Name, &o.Spec)
	}
	text, err := yaml.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// untouched fails if the victim's routes are not what they were, or Envoy serves something else.
func (v victim) untouched(t *testing.T, before string) {
	t.Helper()
	v.untouchedBut(t, before, "")
}

// untouchedBut is untouched for all but the clients of one namespace.
func (v victim) untouchedBut(t *testing.T, before, clients string) {
	t.Helper()
	if after := routesBut(t, v.ns, clients); after != before {
		t.Errorf("the routes were\n%s\nand are\n%s", before, after)
	}
	harness.AssertSplit(t, v.url, map[string]float64{"v1": 50, "v2": 50})
}

// held is a candidate that waits for a stable that never comes: only grayscale could unpause it.
func held(t *testing.T) (ns, name string) {
	t.Helper()
	ns = harness.Namespace(t)
	waiting := canary("web-v2", "10")
	waiting.Annotations["grayscale.dev/stable"] = "nobody"
	apply(t, ns, harness.Service("web"), waiting.Deployment())
	harness.WaitCondition(t, ns, "web-v2", "grayscale.dev/Accepted", "False", "nobody")
	return ns, "web-v2"
}

func isHeld(t *testing.T, ns, name string) bool {
	t.Helper()
	d, err := harness.Kube().AppsV1().Deployments(ns).Get(context.Background(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return d.Spec.Paused
}

// doorIsOpen fails if grayscale has retired: then no webhook holds candidates any more.
func doorIsOpen(t *testing.T) {
	t.Helper()
	c, err := harness.Kube().AdmissionregistrationV1().MutatingWebhookConfigurations().Get(context.Background(), "grayscale", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Webhooks) == 0 {
		t.Error("grayscale has retired")
	}
}

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: metav1.ObjectMeta{Name: name}}
}
