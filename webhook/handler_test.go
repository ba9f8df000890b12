package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	admissionv1 "k8s.io/api/admission/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

const shop = "shop"

// web is a Deployment behind Service web, with the changes that the test needs.
func web(name string, annotations map[string]string, change ...func(*appsv1.Deployment)) appsv1.Deployment {
	labels := map[string]string{"app": "web", "instance": name}
	d := appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: name, Annotations: annotations},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web", "instance": name}},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "example/web:1"}}}},
		},
	}
	for _, c := range change {
		c(&d)
	}
	return d
}

func labelled(version string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) { d.Spec.Template.Labels[release.VersionLabel] = version }
}

func bare(d *appsv1.Deployment) { d.Spec.Template.Labels = map[string]string{} }

func paused(d *appsv1.Deployment) { d.Spec.Paused = true }

func image(name string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = name }
}

func canary(more ...string) map[string]string {
	out := map[string]string{intent.KeyStrategy: "canary"}
	for i := 0; i < len(more); i += 2 {
		out[more[i]] = more[i+1]
	}
	return out
}

// known is a namespace with Service web and stable web-v1.
func known() memory {
	return memory{
		services: []corev1.Service{{ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: "web"},
			Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Name: "http", Port: 80}}}}},
		deployments: []appsv1.Deployment{web("web-v1", nil, labelled("v1"))},
	}
}

// pinnedToStable is known with a VirtualService of ours.
func pinnedToStable() memory {
	m := known()
	m.routes = []*networkingv1.VirtualService{{ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: mesh.Name("web"),
		Annotations: map[string]string{intent.KeyState: `{"stable":{"deployment":"web-v1","version":"v1"}}`}}}}
	return m
}

func request(t testing.TB, asked appsv1.Deployment, old *appsv1.Deployment) admission.Request {
	t.Helper()
	req := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{UID: "1", Namespace: shop, Name: asked.Name,
		Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: encoded(t, asked)}}}
	if old != nil {
		req.Operation, req.OldObject.Raw = admissionv1.Update, encoded(t, *old)
	}
	return req
}

func encoded(t testing.TB, d appsv1.Deployment) []byte {
	t.Helper()
	raw, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// mutated is the Deployment after the API server has applied the mutating handler's answer.
func mutated(t testing.TB, m memory, req admission.Request) []byte {
	t.Helper()
	response := (&admission.Webhook{Handler: mutating{admitter{m, defaults}}}).Handle(context.Background(), req)
	if !response.Allowed {
		t.Fatalf("the mutating handler refused: %v", response.Result)
	}
	if response.Patch == nil {
		return req.Object.Raw
	}
	p, err := jsonpatch.DecodePatch(response.Patch)
	if err != nil {
		t.Fatalf("patch %s: %v", response.Patch, err)
	}
	out, err := p.Apply(req.Object.Raw)
	if err != nil {
		t.Fatalf("patch %s: %v", response.Patch, err)
	}
	return out
}

// The mutating handler changes the version label, the pause and the annotation of the hold, and nothing else.
func TestMutatingChanges(t *testing.T) {
	held := canary(intent.KeyHeld, "true")
	heldBefore := web("web-v2", held, labelled("v2"), paused)
	running := web("web-v2", canary(), labelled("v2"))
	unlabelled := web("web-v2", canary())
	tests := []struct {
		name   string
		around memory
		asked  appsv1.Deployment
		old    *appsv1.Deployment
		want   appsv1.Deployment
	}{
		{"a new candidate is labelled and held", known(), web("web-v2", canary()), nil, web("web-v2", held, labelled("v2"), paused)},
		{"its service may be named", known(), web("web-v2", canary(intent.KeyService, "web")), nil,
			web("web-v2", canary(intent.KeyService, "web", intent.KeyHeld, "true"), labelled("v2"), paused)},
		{"a template without labels gets its map", known(), web("web-v2", canary(intent.KeyVersion, "v2"), bare), nil,
			web("web-v2", canary(intent.KeyVersion, "v2", intent.KeyHeld, "true"), bare, labelled("v2"), paused)},
		{"once pinned it is labelled alone", pinnedToStable(), web("web-v2", canary()), nil, web("web-v2", canary(), labelled("v2"))},
		{"a declared stable is labelled alone", known(), web("web-v0", map[string]string{intent.KeyService: "web"}), nil,
			web("web-v0", map[string]string{intent.KeyService: "web"}, labelled("v0"))},
		{"one paused by its owner is not held", known(), web("web-v2", canary(), paused), nil, web("web-v2", canary(), labelled("v2"), paused)},
		{"annotations alone never touch the template", known(), unlabelled, ptr(web("web-v2", nil)), unlabelled},
		{"a dropped label comes back", pinnedToStable(), unlabelled, &running, running},
		{"and with it a dropped hold", known(), unlabelled, &heldBefore, heldBefore},
		{"a hold survives paused: false", known(), web("web-v2", held, labelled("v2")), &heldBefore, heldBefore},
		{"a new image brings the label it lacked", pinnedToStable(), web("web-v2", canary(), image("example/web:2")), &unlabelled,
			web("web-v2", canary(), image("example/web:2"), labelled("v2"))},
		{"what is invalid is left as it is", known(), web("web-v2", canary(intent.KeyWeight, "150")), nil, web("web-v2", canary(intent.KeyWeight, "150"))},
		{"what is not ours is left as it is", known(), web("web-v3", map[string]string{"team": "shop"}), nil, web("web-v3", map[string]string{"team": "shop"})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := request(t, tt.asked, tt.old)
			got := mutated(t, tt.around, req)
			if want := encoded(t, tt.want); !jsonpatch.Equal(got, want) {
				t.Fatalf("got  %s\nwant %s", got, want)
			}
			req.Object.Raw = got
			if again := (mutating{admitter{tt.around, defaults}}).Handle(context.Background(), req); len(again.Patches) > 0 {
				t.Errorf("asked again it changes more: %v", again.Patches)
			}
		})
	}
}

func ptr[T any](v T) *T { return &v }

// A Deployment whose template has no metadata at all is refused by the API server later, but the patch must be
// applicable.
func TestMutatingBareTemplate(t *testing.T) {
	req := request(t, web("web-v2", canary()), nil)
	req.Object.Raw = []byte(`{"metadata":{"name":"web-v2","annotations":{"grayscale.dev/strategy":"canary","grayscale.dev/version":"v2"}},"spec":{"template":{}}}`)
	want := `{"metadata":{"name":"web-v2","annotations":{"grayscale.dev/strategy":"canary","grayscale.dev/version":"v2","grayscale.dev/held":"true"}},
		"spec":{"paused":true,"template":{"metadata":{"labels":{"version":"v2"}}}}}`
	if got := mutated(t, known(), req); !jsonpatch.Equal(got, []byte(want)) {
		t.Errorf("got %s", got)
	}
}

func withoutIstio(m memory) memory {
	m.istioMissing = true
	return m
}

// alsoRouted has a user's VirtualService for the host.
func alsoRouted(m memory, namespace, host string) memory {
	vs := &networkingv1.VirtualService{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "theirs"}}
	vs.Spec.Hosts = []string{host}
	m.routes = append(m.routes, vs)
	return m
}

func TestValidatingAnswers(t *testing.T) {
	tests := []struct {
		name    string
		around  memory
		asked   appsv1.Deployment
		denied  string // part of the error; allowed where empty
		warning string // part of a warning; none where empty
	}{
		{"right", pinnedToStable(), web("web-v2", canary(intent.KeyWeight, "10"), labelled("v2")), "", ""},
		{"not ours", memory{err: errors.New("never read")}, web("web-v2", nil), "", ""},
		{"invalid", known(), web("web-v2", canary(intent.KeyWeight, "150")), `grayscale.dev/weight: "150", which is above 100`, ""},
		{"two things invalid", known(), web("web-v2", canary(intent.KeyWeight, "150", intent.KeyPaused, "no")), "\nDeployment shop/web-v2 has", ""},
		{"pending", memory{}, web("web-v2", canary()), "", "no Service of namespace shop selects"},
		{"unknown key", pinnedToStable(), web("web-v2", canary(intent.Prefix+"weigth", "5"), labelled("v2")), "", "did you mean grayscale.dev/weight?"},
		{"without Istio", withoutIstio(known()), web("web-v2", canary(), labelled("v2")), "", "does not serve networking.istio.io/v1"},
		{"another's VirtualService", alsoRouted(known(), "bank", "web.shop.svc.cluster.local"), web("web-v2", canary(), labelled("v2")), "",
			"VirtualService bank/theirs routes host web.shop.svc.cluster.local"},
		{"unreadable", memory{err: errors.New("the cache is not started")}, web("web-v2", canary(intent.KeyWeight, "150")), "",
			"Deployment shop/web-v2 is admitted unchecked"},
		{"unreadable routes", memory{services: known().services, factsErr: errors.New("no route to host")}, web("web-v2", canary()), "", "no route to host"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := (&admission.Webhook{Handler: validating{admitter{tt.around, defaults}}}).Handle(context.Background(), request(t, tt.asked, nil))
			if got.Allowed != (tt.denied == "") {
				t.Fatalf("allowed is %v: %v", got.Allowed, got.Result)
			}
			if tt.denied != "" && (!strings.Contains(got.Result.Message, tt.denied) || got.Result.Code != 422 || got.Result.Reason != metav1.StatusReasonInvalid) {
				t.Errorf("got %v, want 422 Invalid with %q", got.Result, tt.denied)
			}
			if all := strings.Join(got.Warnings, "\n"); tt.warning == "" && all != "" || !strings.Contains(all, tt.warning) {
				t.Errorf("warnings %q, want %q", all, tt.warning)
			}
		})
	}
}

// counted is a memory that counts the reads of facts.
type counted struct {
	memory
	read *int
}

func (c counted) Facts(ctx context.Context, namespace, service string) (routing.Facts, error) {
	*c.read++
	return c.memory.Facts(ctx, namespace, service)
}

// The validating webhook always reads the facts; the mutating one only where a hold depends on them.
func TestFactsAreReadOnce(t *testing.T) {
	before := web("web-v2", canary(), labelled("v2"))
	heldBefore := web("web-v2", canary(intent.KeyHeld, "true"), labelled("v2"), paused)
	for name, tt := range map[string]struct {
		asked     appsv1.Deployment
		old       *appsv1.Deployment
		mutating  int
		annotated bool
	}{
		"created":                {web("web-v2", canary()), nil, 1, true},
		"a new image":            {web("web-v2", canary(), labelled("v2"), image("example/web:2")), &before, 0, true},
		"a dropped label":        {web("web-v2", canary()), &before, 0, true},
		"a dropped hold":         {web("web-v2", canary(), labelled("v2")), &heldBefore, 1, true},
		"invalid":                {web("web-v2", canary(intent.KeyWeight, "150")), nil, 0, true},
		"nothing of grayscale's": {web("web-v3", nil), nil, 0, false},
	} {
		for handler, want := range map[string]int{MutatePath: tt.mutating, ValidatePath: map[bool]int{true: 1}[tt.annotated]} {
			read := 0
			Handlers(nil, counted{known(), &read}, defaults)[handler].Handle(context.Background(), request(t, tt.asked, tt.old))
			if read != want {
				t.Errorf("%s: %s reads facts %d times, want %d", name, handler, read, want)
			}
		}
	}
}

// failing is a memory in which the facts of one Service cannot be read.
type failing struct {
	memory
	service string
}

func (f failing) Facts(ctx context.Context, namespace, service string) (routing.Facts, error) {
	if service == f.service {
		return routing.Facts{}, errors.New("no route to host")
	}
	return f.memory.Facts(ctx, namespace, service)
}

// One failed read makes the answer unchecked, even if the next Service's facts can be read.
func TestOneOfTwoServicesIsUnreadable(t *testing.T) {
	m := known()
	second := m.services[0].DeepCopy()
	second.Name = "web-internal"
	m.services = append(m.services, *second)
	asked := request(t, web("web-v2", canary(intent.KeyService, "web,web-internal")), nil)
	for _, service := range []string{"web", "web-internal"} {
		got := Handlers(nil, failing{m, service}, defaults)[ValidatePath].Handle(context.Background(), asked)
		if all := strings.Join(got.Warnings, "\n"); !strings.Contains(all, "admitted unchecked") || !strings.Contains(all, "shop/"+service+":") {
			t.Errorf("where %s cannot be read the answer is %v %q", service, got.Allowed, all)
		}
	}
}

// Without Istio's CRDs there can be no routes, and candidates are held until there are.
func TestMutatingWithoutIstio(t *testing.T) {
	got := mutated(t, withoutIstio(known()), request(t, web("web-v2", canary()), nil))
	if want := encoded(t, web("web-v2", canary(intent.KeyHeld, "true"), labelled("v2"), paused)); !jsonpatch.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A VirtualService that only has our name does not pin; one of ours does, even with a damaged state annotation.
func TestPinned(t *testing.T) {
	for name, tt := range map[string]struct {
		annotations map[string]string
		held        bool
	}{
		"ours":         {map[string]string{intent.KeyState: `{"stable":{"deployment":"web-v1","version":"v1"}}`}, false},
		"damaged":      {map[string]string{intent.KeyState: `{`}, false},
		"someone else": {nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			m := pinnedToStable()
			m.routes[0].Annotations = tt.annotations
			got := mutated(t, m, request(t, web("web-v2", canary()), nil))
			if held := strings.Contains(string(got), intent.KeyHeld); held != tt.held {
				t.Errorf("held is %v, want %v", held, tt.held)
			}
		})
	}
}
