package routing_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

// TestDoorAndControllerAgree: the webhook says the same about a candidate as the controller says once it is stored. The
// candidate is the youngest Deployment, as the webhook assumes. One that turns out to be stable is not compared.
func TestDoorAndControllerAgree(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		around := factsIn(rt)
		for range 10 {
			agree(rt, around)
		}
	})
}

// agree compares both for one candidate.
func agree(rt *rapid.T, f routing.Facts) {
	f.Deployments = slices.Clone(f.Deployments)
	asked := candidateIn(rt, f)
	a := routing.Admission{Namespace: "shop", New: asked, Services: f.Services}
	for _, b := range f.Beside {
		a.Services = append(a.Services, b.Service)
	}
	if !f.Service.Missing {
		a.Services = append(a.Services, f.Service)
	}
	a.Around = func(service string) routing.Facts { return about(f, service) }
	if i := slices.IndexFunc(f.Deployments, func(x release.Deployment) bool { return x.Name == asked.Name }); i >= 0 {
		a.Old, a.TemplateChanged = &f.Deployments[i], rapid.Bool().Draw(rt, "another image")
	}
	v := routing.Admit(a, twoSeconds)
	stored, d := decided(f, a, v)
	if isStable(d, stored) || serves(f, stored.Name) {
		return
	}
	said, says := sentences(slices.Concat(v.Denied, v.Warnings)), sentences(d.Problems[asked.Name])
	if !slices.Equal(said, says) {
		rt.Fatalf("%s %v\nthe webhook says     %q\nthe controller says %q", asked.Name, asked.Annotations, said, says)
	}
}

// rare is true once in so many draws; rapid itself draws small numbers more often.
func rare(rt *rapid.T, once int, what string) bool {
	return rapid.IntRange(0, once-1).Draw(rt, what) == once-1
}

// decided is what the controller decides about the Deployment once it is stored as the webhook wrote it, with the facts
// of its Author.
func decided(f routing.Facts, a routing.Admission, v routing.Verdict) (release.Deployment, decision) {
	stored := a.New
	stored.CreatedAt = begin
	if v.Version != "" {
		stored.TemplateLabels = maps.Clone(stored.TemplateLabels)
		stored.TemplateLabels[release.VersionLabel] = v.Version
	}
	if v.Hold {
		annotate(&stored, intent.KeyHeld, ptr("true"), routing.FieldManager)
		stored.SpecPaused = true
	}
	with := func(f routing.Facts) routing.Facts {
		f.Deployments = slices.DeleteFunc(slices.Clone(f.Deployments), func(x release.Deployment) bool { return x.Name == stored.Name })
		f.Deployments = append(f.Deployments, stored)
		return f
	}
	f = with(about(f, release.Parse(a.Namespace, stored, a.Services).Placed.Author))
	for i := range f.Beside {
		f.Beside[i] = with(f.Beside[i])
	}
	return stored, decide(f, twoSeconds)
}

// about returns the facts about one of the Services, with the others beside it.
func about(f routing.Facts, service string) routing.Facts {
	all := append([]routing.Facts{f}, f.Beside...)
	i := slices.IndexFunc(all, func(f routing.Facts) bool { return f.Service.Name == service })
	out := routing.Facts{Now: f.Now, Service: release.Service{Namespace: "shop", Name: service, Missing: true}}
	is(&out).Missing = is(&f).Missing
	if i >= 0 {
		out = all[i]
	}
	out.Services, out.Beside = nil, nil
	for n, b := range all {
		if n != i && !b.Service.Missing {
			b.Beside, b.Services = nil, nil
			for o, other := range all {
				if o != n && !other.Service.Missing {
					b.Services = append(b.Services, other.Service)
				}
			}
			out.Services, out.Beside = append(out.Services, b.Service), append(out.Beside, b)
		}
	}
	return out
}

func ptr[T any](v T) *T { return &v }

// isStable: the current or the decided conditions say so.
func isStable(d decision, x release.Deployment) bool {
	conditions := x.Conditions
	for _, s := range d.Status {
		if s.Deployment == x.Name {
			conditions = s.Conditions
		}
	}
	return slices.ContainsFunc(conditions, func(c release.Condition) bool { return c.Reason == routing.ReasonStable })
}

// serves: a release remembers the Deployment as its stable.
func serves(f routing.Facts, name string) bool {
	return slices.ContainsFunc(append([]routing.Facts{f}, f.Beside...), func(f routing.Facts) bool {
		if is(&f).VirtualService == nil {
			return false
		}
		st, _ := mesh.ReadState(is(&f).VirtualService)
		return st.Stable.Deployment == name
	})
}

// sentences are the reasons and messages of the blocking problems, sorted.
func sentences(problems []intent.Problem) []string {
	var out []string
	for _, p := range release.Blocking(problems) {
		out = append(out, p.Reason+": "+p.String())
	}
	slices.Sort(out)
	return out
}

// factsIn are facts about Service reviews at any moment: a canary that serves or is about to, and anything that users
// may do.
func factsIn(rt *rapid.T) routing.Facts {
	f := canaryFacts()
	f.Service = reviews()
	f.Service.Ports = []release.Port{rapid.SampledFrom([]release.Port{{Name: "http", Number: 80}, {Name: "tcp", Number: 9000}, {Number: 7000},
		{Name: "https", Number: 443}, {Name: "dns", Number: 53, Protocol: "UDP"}}).Draw(rt, "port")}
	f.Service.Headless = rare(rt, 20, "headless")
	for range rapid.SampledFrom([]int{4, 4, 2, 1, 0}).Draw(rt, "steps made") {
		for range mostDecisions {
			d := decide(f, twoSeconds)
			if idle(d) {
				break
			}
			obey(&f, d)
		}
		pass(&f, twoSeconds.Settle)
	}
	for i := range f.Deployments {
		if rapid.Bool().Draw(rt, "changed") {
			f.Deployments[i] = deploymentIn(rt, f.Deployments[i].Name, i)
		}
	}
	if rapid.Bool().Draw(rt, "a third") {
		f.Deployments = append(f.Deployments, deploymentIn(rt, "reviews-v3", 3))
	}
	is(&f).OtherVirtualServices = rapid.SliceOfNDistinct(rapid.SampledFrom(virtualServices()), 0, 2, (*networkingv1.VirtualService).GetName).Draw(rt, "VirtualServices")
	is(&f).OtherDestinationRules = rapid.SliceOfNDistinct(rapid.SampledFrom(destinationRules()), 0, 2, (*networkingv1.DestinationRule).GetName).Draw(rt, "DestinationRules")
	if rare(rt, 2, "a second Service") {
		f.Beside = []routing.Facts{secondIn(rt, f)}
	}
	switch {
	case rare(rt, 10, "no Istio"):
		is(&f).Missing = true
	case rare(rt, 10, "no Service"):
		f.Service = release.Service{Namespace: "shop", Name: "reviews", Missing: true}
	default:
		return f
	}
	f.Mesh = &istio.Mesh{Missing: is(&f).Missing}
	return f
}

// secondIn is another Service with the same selector, with or without routes.
func secondIn(rt *rapid.T, f routing.Facts) routing.Facts {
	f.Service = reviews()
	f.Service.Name, f.Service.Headless = "reviews-internal", rare(rt, 10, "the second is headless")
	if rapid.Bool().Draw(rt, "TLS in the second") {
		f.Service.Ports = []release.Port{{Name: "https", Number: 443}}
	}
	f.Mesh = &istio.Mesh{}
	if rare(rt, 3, "somebody routes the second") {
		is(&f).OtherVirtualServices = []*networkingv1.VirtualService{{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "second"},
			Spec: v1alpha3.VirtualService{Hosts: []string{"reviews-internal"}}}}
	}
	return f
}

// candidateIn is a Deployment at admission: a new one, or another version of an existing one.
func candidateIn(rt *rapid.T, f routing.Facts) release.Deployment {
	name := fmt.Sprintf("reviews-v%d", rapid.IntRange(1, 4).Draw(rt, "at the door"))
	asked := deploymentIn(rt, name, 9)
	if asked.Annotations == nil {
		asked.Annotations = map[string]string{}
	}
	asked.Annotations[intent.KeyStrategy] = rapid.SampledFrom([]string{"canary", "blue-green", "mirror", "blue"}).Draw(rt, "strategy")
	asked.Pods = nil
	for i := range f.Deployments {
		if f.Deployments[i].Name == name { // what may not change, or is known of it alone
			f.Deployments[i].CreatedAt = begin
			asked.Pods, asked.Selector = f.Deployments[i].Pods, f.Deployments[i].Selector
			asked.Conditions = f.Deployments[i].Conditions
		}
	}
	if pinned := asked.Selector[release.VersionLabel]; pinned != "" {
		asked.TemplateLabels[release.VersionLabel] = pinned
	}
	return asked
}

func deploymentIn(rt *rapid.T, name string, age int) release.Deployment {
	version := rapid.SampledFrom([]string{"", "", "v1", "v2", "v3"})
	sometimes := func(key string, out map[string]string, values ...string) {
		if rare(rt, 3, key) {
			out[key] = rapid.SampledFrom(values).Draw(rt, key+" is")
		}
	}
	d := release.Deployment{Name: name, CreatedAt: begin.Add(time.Duration(age-20) * time.Hour), Replicas: int32(rapid.IntRange(0, 2).Draw(rt, "replicas")),
		TemplateLabels: map[string]string{"app": "reviews"}, Selector: map[string]string{"d": name}, Annotations: map[string]string{}}
	label := version.Draw(rt, "label")
	if label != "" {
		d.TemplateLabels[release.VersionLabel] = label
		if rare(rt, 4, "in the selector") {
			d.Selector[release.VersionLabel] = label
		}
	}
	if n := rapid.IntRange(0, 2).Draw(rt, "pods"); n > 0 {
		d.Pods = []release.Pods{{Version: label, Total: n, Ready: rapid.IntRange(0, n).Draw(rt, "ready")}}
	}
	sometimes(intent.KeyStrategy, d.Annotations, "canary", "blue-green", "mirror")
	sometimes(intent.KeyWeight, d.Annotations, "0", "40", "70", "100", "150")
	sometimes(intent.KeyActive, d.Annotations, "true", "false", "yes")
	sometimes(intent.KeyVersion, d.Annotations, "v1", "v2", "v3")
	sometimes(intent.KeyStable, d.Annotations, "reviews-v1", "reviews-v2", "ratings", "reviews-v1, reviews-v3")
	sometimes(intent.KeyPaused, d.Annotations, "true")
	if rare(rt, 4, "names a Service") {
		d.Annotations[intent.KeyService] = rapid.SampledFrom([]string{"reviews", "reviews-internal", "reviews, reviews-internal", "reviews, gone"}).Draw(rt, "its name")
	}
	if rare(rt, 10, "elsewhere") {
		d.TemplateLabels["app"] = "ratings"
	}
	return d
}

func virtualServices() []*networkingv1.VirtualService {
	make := func(namespace, name string, spec *v1alpha3.VirtualService) *networkingv1.VirtualService {
		out := &networkingv1.VirtualService{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
		spec.DeepCopyInto(&out.Spec)
		return out
	}
	return []*networkingv1.VirtualService{
		make("shop", "mine", &v1alpha3.VirtualService{Hosts: []string{"reviews"}}),
		make("shop", "wide", &v1alpha3.VirtualService{Hosts: []string{"*.shop.svc.cluster.local"}}),
		make("bank", "theirs", &v1alpha3.VirtualService{Hosts: []string{"reviews.shop.svc.cluster.local"}, ExportTo: []string{"."}}),
		make("shop", "reviews-grayscale", &v1alpha3.VirtualService{Hosts: []string{"ratings"}}),
	}
}

func destinationRules() []*networkingv1.DestinationRule {
	make := func(namespace, name string, spec *v1alpha3.DestinationRule) *networkingv1.DestinationRule {
		out := &networkingv1.DestinationRule{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
		spec.DeepCopyInto(&out.Spec)
		return out
	}
	subset := func(name string) []*v1alpha3.Subset {
		return []*v1alpha3.Subset{{Name: name, Labels: map[string]string{"tier": "old"}}}
	}
	return []*networkingv1.DestinationRule{
		make("shop", "stable", &v1alpha3.DestinationRule{Host: "reviews", Subsets: subset("v1")}),
		make("shop", "candidate", &v1alpha3.DestinationRule{Host: "reviews", Subsets: subset("v2")}),
		make("bank", "theirs", &v1alpha3.DestinationRule{Host: "reviews.shop.svc.cluster.local"}),
		make("shop", "own", &v1alpha3.DestinationRule{Host: "reviews", ExportTo: []string{"."}}),
		make("istio-system", "all", &v1alpha3.DestinationRule{Host: "*.local"}),
	}
}
