package store

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"
	"istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/routing/intent"
)

// notified are the changes that were notified of: "+" what came, "-" what went, "~" what changed.
func notified(s *objects[corev1.Service]) *[]string {
	var out []string
	s.notify(func(before, after *corev1.Service) {
		switch {
		case before == nil:
			out = append(out, "+"+after.Name)
		case after == nil:
			out = append(out, "-"+before.Name)
		default:
			out = append(out, "~"+after.Name)
		}
	})
	return &out
}

func sinkOf(s *objects[corev1.Service], namespace string) *sink[*corev1.Service, corev1.Service] {
	return newSink(s, trimService, nil, namespace)
}

func newServices() *objects[corev1.Service] {
	return newObjects("services", protobuf[corev1.Service](), observe.ServicesBySelector)
}

func namesUnder(s *objects[corev1.Service], by observe.ServiceIndex, key string) string {
	var out []string
	for _, o := range s.list(by, key) {
		out = append(out, o.Name)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestObjectsFollowTheirSink(t *testing.T) {
	s := newServices()
	f, changes := sinkOf(s, shop), notified(s)
	web, api := service("web", map[string]string{"app": "web"}), service("api", map[string]string{"app": "api"})
	elsewhere := service("web", map[string]string{"app": "web"})
	elsewhere.Namespace = "elsewhere"
	other := sinkOf(s, "elsewhere")
	moved := service("web", map[string]string{"app": "api"})
	for _, step := range []struct {
		what               string
		do                 func() error
		changes, web, apis string
	}{
		{"nobody hears of the list at the start", func() error { return f.Replace([]any{web}, "1") }, "", "web", ""},
		{"one of another namespace", func() error { return other.Replace([]any{elsewhere}, "1") }, "", "web", ""},
		{"one comes", func() error { return f.Add(api) }, "+api", "web", "api"},
		{"a selector changes", func() error { return f.Update(moved) }, "~web", "", "api web"},
		{"the watch has missed an end and a beginning", func() error { return f.Replace([]any{web}, "9") }, "~web -api", "web", ""},
		{"the same again, packed", func() error {
			p, err := f.Transformer()(api)
			if err != nil {
				return err
			}
			return f.Replace([]any{p, web}, "9")
		}, "+api ~web", "web", "api"},
		{"one goes", func() error { return f.Delete(web) }, "-web", "", "api"},
		{"what is not there goes", func() error { return f.Delete(web) }, "", "", "api"},
		{"all go", func() error { return f.Replace(nil, "10") }, "-api", "", ""},
	} {
		*changes = nil
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		if got := strings.Join(*changes, " "); got != step.changes {
			t.Errorf("%s: notified of %q, want %q", step.what, got, step.changes)
		}
		if got := namesUnder(s, observe.ServicesBySelector, shop+"/app=web"); got != step.web {
			t.Errorf("%s: app=web are %q, want %q", step.what, got, step.web)
		}
		if got := namesUnder(s, observe.ServicesBySelector, shop+"/app=api"); got != step.apis {
			t.Errorf("%s: app=api are %q, want %q", step.what, got, step.apis)
		}
	}
	if got := s.keys(); len(got) != 1 || got[0] != "elsewhere/web" {
		t.Errorf("a sink of one namespace left %q of the other", got)
	}
	if err := other.Delete(elsewhere); err != nil || len(s.entries)+len(s.index) != 0 {
		t.Errorf("an empty store still holds %v and %v (%v)", s.entries, s.index, err)
	}
}

// An object that is packed belongs to the one who reads it.
func TestReadersOwnWhatIsUnpacked(t *testing.T) {
	s := newServices()
	if err := sinkOf(s, shop).Add(service("web", map[string]string{"app": "web"})); err != nil {
		t.Fatal(err)
	}
	s.get(shop, "web").Spec.Selector["app"] = "spoilt"
	if second := s.get(shop, "web"); second == nil || second.Spec.Selector["app"] != "web" {
		t.Errorf("a reader spoilt it for the next: %v", second)
	}
	if s.get(shop, "api") != nil {
		t.Error("found what is not there")
	}
}

// A watch that sends an object of another kind changes nothing.
func TestForeignObjectsAreRefused(t *testing.T) {
	s := newServices()
	f := sinkOf(s, shop)
	if err := f.Add(pod("p", "web", nil)); err == nil || !strings.Contains(err.Error(), "services") {
		t.Errorf("a pod among Services: %v", err)
	}
	if len(s.entries) != 0 {
		t.Errorf("it is kept: %v", s.entries)
	}
}

// Everything that decisions rest on survives being packed.
func TestPackedRoutesSayTheSame(t *testing.T) {
	text := rapid.StringMatching(`[a-z0-9-]{0,20}`)
	rapid.Check(t, func(t *rapid.T) {
		vs := &networkingv1.VirtualService{ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: "web-grayscale", UID: "u", ResourceVersion: "7",
			Labels: rapid.MapOf(text, text).Draw(t, "labels"), Annotations: map[string]string{intent.KeyState: text.Draw(t, "state")}}}
		vs.Spec.Hosts = rapid.SliceOf(text).Draw(t, "hosts")
		for range rapid.IntRange(0, 3).Draw(t, "routes") {
			vs.Spec.Http = append(vs.Spec.Http, &v1alpha3.HTTPRoute{Name: text.Draw(t, "name"), Route: []*v1alpha3.HTTPRouteDestination{
				{Weight: rapid.Int32Range(0, 100).Draw(t, "weight"), Destination: &v1alpha3.Destination{Host: text.Draw(t, "host"), Subset: "v1"}}}})
		}
		s := newObjects("virtualservices", virtualServiceCodec)
		e, err := s.pack(vs)
		if err != nil {
			t.Fatal(err)
		}
		got := s.read(e)
		if !proto.Equal(&got.Spec, &vs.Spec) || fmt.Sprint(got.Labels) != fmt.Sprint(vs.Labels) || got.Annotations[intent.KeyState] != vs.Annotations[intent.KeyState] ||
			got.UID != vs.UID || got.ResourceVersion != vs.ResourceVersion {
			t.Errorf("%v became %v", vs, got)
		}
		plain, err := virtualServiceCodec.pack(vs)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := virtualServiceCodec.unpack(plain[:rapid.IntRange(0, 20).Draw(t, "cut")]); err == nil {
			t.Error("cut bytes are taken for whole ones")
		}
	})
}

// What is alike takes little room, and each text is read back as it was, those from before the dictionary was learnt
// too.
func TestDictionaryGivesBackWhatItGot(t *testing.T) {
	var d dictionary
	plain := func(i int) string {
		return fmt.Sprintf(`{"metadata":{"name":"web-%d","labels":{"app":"web-%d","app.kubernetes.io/managed-by":"Helm"}},"x":"%d"}`, i, i*7, i*i)
	}
	var all []string
	size := 0
	for i := range 1000 {
		bytes := d.compress([]byte(plain(i)))
		all = append(all, bytes)
		if i >= 500 {
			size += len(bytes)
		}
	}
	for i, bytes := range all {
		if got, err := d.decompress(bytes); err != nil || string(got) != plain(i) {
			t.Fatalf("%q became %q (%v)", plain(i), got, err)
		}
	}
	if each := size / 500; each > len(plain(0))/2 {
		t.Errorf("each takes %d bytes, of %d", each, len(plain(0)))
	}
}

// Reflectors write while workers read; run with the race detector.
func TestObjectsAreSharedSafely(t *testing.T) {
	s := newServices()
	var all sync.WaitGroup
	for _, namespace := range []string{"a", "b"} {
		all.Go(func() {
			f := sinkOf(s, namespace)
			for i := range 300 {
				o := service(fmt.Sprintf("web-%d", i%7), map[string]string{"app": fmt.Sprintf("web-%d", i%3)})
				o.Namespace = namespace
				change := f.Update
				if i%5 == 0 {
					change = f.Delete
				}
				if err := change(o); err != nil {
					t.Error(err)
				}
			}
		})
		all.Go(func() {
			for i := range 300 {
				for _, o := range s.list(observe.ServicesBySelector, fmt.Sprintf("%s/app=web-%d", namespace, i%3)) {
					if o.Namespace != namespace {
						t.Errorf("%s among those of %s", o.Namespace, namespace)
					}
				}
			}
		})
	}
	all.Wait()
}
