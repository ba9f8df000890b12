package bench

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/test/harness"
)

// floorRoutes is the name of the floor's VirtualService, and of its DestinationRule.
const floorRoutes = "bare-floor"

// floor is a release made by hand beside a real one: Service bare, two Deployments, and copies of the derived objects
// in which only names, host and the annotations' prefix differ. Grayscale has no part in it, and its webhook is not
// asked.
type floor struct {
	ns, url string
	routes  *networkingv1.VirtualService // as they were written last
}

func newFloor(b *testing.B, r release) *floor {
	b.Helper()
	f := &floor{ns: r.ns, url: harness.URL(r.ns, "bare", 80)}
	var objects []any
	for _, version := range []string{"v1", "v2"} {
		app := harness.App{Name: "bare-" + version, Label: "bare", Replicas: 2, PodLabels: map[string]string{"version": version}}
		if version == "v2" {
			app.Annotations = map[string]string{"example.com/strategy": "canary", "example.com/weight": "0"}
		}
		objects = append(objects, app.Deployment())
	}
	harness.Kubectl(b, harness.YAML(b, append(objects, harness.Service("bare"))...), "apply", "-n", r.ns, "-f", "-")
	harness.WaitReady(b, r.ns, "bare-v1")
	harness.WaitReady(b, r.ns, "bare-v2")
	api := harness.Istio().NetworkingV1()
	rule, err := api.DestinationRules(r.ns).Get(b.Context(), "web-grayscale", metav1.GetOptions{})
	if err != nil {
		b.Fatal(err)
	}
	bare := rule.DeepCopy()
	bare.ObjectMeta = copied(rule.ObjectMeta)
	bare.Spec.Host = forBare(bare.Spec.Host)
	if _, err := api.DestinationRules(r.ns).Create(b.Context(), bare, metav1.CreateOptions{}); err != nil {
		b.Fatal(err)
	}
	routes, err := api.VirtualServices(r.ns).Get(b.Context(), "web-grayscale", metav1.GetOptions{})
	if err != nil {
		b.Fatal(err)
	}
	f.routes = routes.DeepCopy()
	f.routes.ObjectMeta = copied(routes.ObjectMeta)
	f.routes.Spec.Hosts = []string{forBare(routes.Spec.Hosts[0])}
	for _, route := range f.routes.Spec.Http {
		for _, to := range route.Route {
			to.Destination.Host = forBare(to.Destination.Host)
		}
	}
	if f.routes, err = api.VirtualServices(r.ns).Create(b.Context(), f.routes, metav1.CreateOptions{}); err != nil {
		b.Fatal(err)
	}
	harness.WaitServed(b, f.url)
	return f
}

// copied is a derived object's metadata without what makes it grayscale's; its size stays.
func copied(from metav1.ObjectMeta) metav1.ObjectMeta {
	out := metav1.ObjectMeta{Name: floorRoutes, Namespace: from.Namespace, Annotations: map[string]string{}}
	for key, value := range from.Annotations {
		_, name, _ := strings.Cut(key, "/")
		out.Annotations["example.com/"+name] = value
	}
	return out
}

func forBare(host string) string { return strings.Replace(host, "web.", "bare.", 1) }

// annotate is what kubectl annotate sends, as release.weight is.
func (f *floor) annotate(b *testing.B, percent int) {
	b.Helper()
	release{ns: f.ns}.patch(b, "bare-v2", fmt.Sprintf(`{"metadata":{"annotations":{"example.com/weight":"%d"}}}`, percent))
}

// route writes the VirtualService as grayscale does: a merge patch of routes and state that names the version it
// changes.
func (f *floor) route(b *testing.B, percent int) {
	b.Helper()
	want := f.routes.DeepCopy()
	first := want.Spec.Http[0]
	template := first.Route[0]
	first.Route = first.Route[:0]
	for _, to := range []struct {
		subset string
		weight int
	}{{"v1", 100 - percent}, {"v2", percent}} {
		if to.weight > 0 {
			one := template.DeepCopy()
			one.Destination.Subset, one.Weight = to.subset, int32(to.weight)
			first.Route = append(first.Route, one)
		}
	}
	spec, err := json.Marshal(&want.Spec)
	if err != nil {
		b.Fatal(err)
	}
	annotations := map[string]string{}
	for key, value := range want.Annotations {
		annotations[key] = fmt.Sprintf("%s %d", strings.TrimRight(value, " 0123456789"), percent)
	}
	change, err := json.Marshal(map[string]any{"spec": json.RawMessage(spec),
		"metadata": map[string]any{"resourceVersion": f.routes.ResourceVersion, "annotations": annotations}})
	if err != nil {
		b.Fatal(err)
	}
	f.routes, err = harness.Istio().NetworkingV1().VirtualServices(f.ns).Patch(b.Context(), floorRoutes, types.MergePatchType,
		change, metav1.PatchOptions{FieldManager: "floor"})
	if err != nil {
		b.Fatal(err)
	}
}
