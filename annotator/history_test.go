package annotator

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
)

// asked is a candidate in the facts whose weight was set with kubectl.
func asked(weight string, conditions ...release.Condition) release.Deployment {
	return release.Deployment{Name: "web-v2", Replicas: 1, Conditions: conditions,
		Annotations: map[string]string{intent.KeyStrategy: "canary", intent.KeyWeight: weight},
		SetBy:       map[string]string{intent.KeyStrategy: "kubectl-apply", intent.KeyWeight: "kubectl-annotate"}}
}

func says(programmed, reason string) release.Condition {
	return release.Condition{Type: intent.ConditionProgrammed, Status: programmed, Reason: reason}
}

func facts(seconds int64, list ...release.Deployment) routing.Facts {
	return routing.Facts{Now: at(seconds), Deployments: list}
}

// lookAgain is a decision that writes nothing yet, and is to be repeated soon.
var lookAgain = routing.Decision{Plan: routing.Plan{After: time.Second}}

// routesOf is a derived VirtualService with a weight for v2 and a state annotation.
func routesOf(weight int32, remembers string) *networkingv1.VirtualService {
	vs := &networkingv1.VirtualService{ObjectMeta: meta("web-grayscale")}
	if remembers != "" {
		vs.Annotations = map[string]string{intent.KeyState: remembers}
	}
	route := func(v string, weight int32) *v1alpha3.HTTPRouteDestination {
		return &v1alpha3.HTTPRouteDestination{Destination: &v1alpha3.Destination{Subset: v}, Weight: weight}
	}
	vs.Spec.Http = []*v1alpha3.HTTPRoute{{Route: []*v1alpha3.HTTPRouteDestination{route("v1", 100-weight), route("v2", weight)}}}
	return vs
}

func TestWhySaysWhatHasChanged(t *testing.T) {
	was := asked("10", says("True", "Programmed"))
	was.Pods = []release.Pods{{Version: "v2", Ready: 2, Total: 2}}
	changed := func(f func(*release.Deployment)) release.Deployment {
		is := was
		is.Annotations = maps.Clone(was.Annotations)
		f(&is)
		return is
	}
	for _, c := range []struct {
		what string
		is   []release.Deployment
		want []string
	}{
		{"nothing", []release.Deployment{was}, []string{reasonSettled}},
		{"a weight", []release.Deployment{changed(func(d *release.Deployment) { d.Annotations[intent.KeyWeight] = "50" })},
			[]string{`Deployment web-v2: "grayscale.dev/weight" is "50" (was "10"), by "kubectl-annotate"`}},
		{"a key that goes", []release.Deployment{changed(func(d *release.Deployment) {
			delete(d.Annotations, intent.KeyStrategy)
			d.SetBy = map[string]string{intent.KeyWeight: "kubectl-annotate"}
		})}, []string{`Deployment web-v2: "grayscale.dev/strategy" removed (was "canary")`}},
		{"the last ready pod", []release.Deployment{changed(func(d *release.Deployment) { d.Pods = nil })}, []string{"Deployment web-v2: 0 ready pods (were 2)"}},
		{"one ready pod of two", []release.Deployment{changed(func(d *release.Deployment) { d.Pods = []release.Pods{{Version: "v2", Ready: 1, Total: 2}} })}, []string{reasonSettled}},
		{"a scaling to zero", []release.Deployment{changed(func(d *release.Deployment) { d.Replicas = 0 })}, []string{"Deployment web-v2: 0 replicas (were 1)"}},
		{"a deletion", []release.Deployment{changed(func(d *release.Deployment) { d.Deleting = true })}, []string{"Deployment web-v2 is being deleted"}},
		{"a Deployment that is gone", nil, []string{"Deployment web-v2 is gone"}},
		{"what we wrote ourselves", []release.Deployment{changed(func(d *release.Deployment) {
			d.Annotations[intent.KeyVersion] = "v2"
			d.SetBy = maps.Clone(was.SetBy)
			d.SetBy[intent.KeyVersion] = routing.FieldManager
		})}, []string{reasonSettled}},
		{"a value that is no word", []release.Deployment{changed(func(d *release.Deployment) {
			d.Annotations[intent.KeyWeight] = "1\n{\"level\":\"error\"}" + strings.Repeat("x", 1000)
		})},
			[]string{`Deployment web-v2: "grayscale.dev/weight" is "1\n{\"level\":\"error\"}` + strings.Repeat("x", maxValue-19) + `" (was "10"), by "kubectl-annotate"`}},
	} {
		h := newHistories().of(webService)
		h.settle(facts(100, was), routing.Decision{}, nil)
		if got := h.changeReasons(facts(101, c.is...)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}

// A new leader gives its own start as the reason for releases that began before it, and full reasons for new ones.
func TestWhyAtTheFirstLook(t *testing.T) {
	look := func(h *history, f routing.Facts) []string {
		h.observe(f)
		return h.changeReasons(f)
	}
	if got := look(newHistories().of(webService), facts(1, asked("10", says("True", "Programmed")))); !slices.Equal(got, []string{reasonNewLeader}) {
		t.Errorf("a release of before: %q", got)
	}
	h := newHistories().of(webService)
	got := look(h, facts(1, asked("10")))
	want := []string{`Deployment web-v2: "grayscale.dev/strategy" is "canary", by "kubectl-apply"`, `Deployment web-v2: "grayscale.dev/weight" is "10", by "kubectl-annotate"`}
	if !slices.Equal(got, want) {
		t.Errorf("a new release: %q, want %q", got, want)
	}
	h.settle(facts(1, asked("10")), lookAgain, nil)
	if got := look(h, facts(2, asked("10", says("False", "Pinning")))); !slices.Equal(got, want) {
		t.Errorf("a new release, after a first step: %q, want %q", got, want)
	}
}

// One change may take several decisions. All of them name it.
func TestWhyLastsUntilTheRoutesAreWritten(t *testing.T) {
	h := newHistories().of(webService)
	h.settle(facts(100, asked("10", says("True", "Programmed"))), routing.Decision{}, nil)
	next := facts(101, asked("50", says("True", "Programmed")))
	h.settle(next, lookAgain, map[string]client.Object{kindDestinationRule: &networkingv1.DestinationRule{}})
	if got := h.changeReasons(next); len(got) != 1 || !strings.Contains(got[0], `is "50"`) {
		t.Errorf("after a first step: %q", got)
	}
	h.settle(next, lookAgain, map[string]client.Object{kindVirtualService: routesOf(50, "x")})
	if got := h.changeReasons(next); !slices.Equal(got, []string{reasonSettled}) {
		t.Errorf("after the routes are written: %q", got)
	}
}

// Only changes by somebody else count as edits of a derived object. Our own writes, also by other replicas, change the
// state annotation too; and a new leader has nothing to compare with.
func TestEditsBySomebodyElse(t *testing.T) {
	ours := routesOf(10, "ten")
	for _, c := range []struct {
		what string
		left client.Object
		is   *networkingv1.VirtualService
		want bool
	}{
		{"as we left it", ours, routesOf(10, "ten"), false},
		{"other weights", ours, routesOf(90, "ten"), true},
		{"deleted", ours, nil, true},
		{"without what it remembers", ours, routesOf(90, ""), true},
		{"written by another replica", ours, routesOf(50, "fifty"), false},
		{"never seen before", nil, routesOf(90, "ten"), false},
		{"not there yet", nil, nil, false},
	} {
		h := newHistories().of(webService)
		h.wrote(map[string]client.Object{kindVirtualService: c.left})
		f := routing.Facts{Mesh: istio.Mesh{VirtualService: c.is}}
		if got := h.edited(kindVirtualService, derivedObject(f, kindVirtualService)); got != c.want {
			t.Errorf("%s: edited is %t, want %t", c.what, got, c.want)
		}
	}
	h := newHistories().of(webService)
	h.wrote(map[string]client.Object{kindVirtualService: ours})
	h.settle(routing.Facts{Mesh: istio.Mesh{VirtualService: routesOf(90, "ten")}}, routing.Decision{}, nil)
	if h.edited(kindVirtualService, routesOf(90, "ten")) {
		t.Error("an edit that was found right is one for ever")
	}
}

// The time from annotation to routes counts only what grayscale takes: changes that wait for pods, for the end of a
// pause or for a correction are left out.
func TestTimeFromAnnotationToRoutes(t *testing.T) {
	programmed, begun := says("True", "Programmed"), asked("10", says("True", "Programmed"))
	write := lookAgain
	write.Writes = []routing.Write{{Verb: routing.Apply, Part: routing.Routes, Object: routesOf(50, "x")}}
	type look struct {
		at     int64
		is     release.Deployment
		d      routing.Decision
		routed bool
	}
	decided := func(d routing.Decision, c release.Condition) routing.Decision {
		d.Status = []routing.Status{{Deployment: "web-v2", Conditions: []release.Condition{c}}}
		return d
	}
	aborted := release.Deployment{Name: "web-v2", Replicas: 1, Conditions: []release.Condition{programmed}}
	for _, c := range []struct {
		what  string
		looks []look
		want  []time.Duration
	}{
		{"at once", []look{{1, begun, routing.Decision{}, false}, {5, asked("50", programmed), write, true}}, []time.Duration{0}},
		{"a write that had to be tried again", []look{{1, begun, routing.Decision{}, false}, {5, asked("50", programmed), decided(lookAgain, says("False", "Settling")), false},
			{8, asked("50", programmed), write, true}}, []time.Duration{3 * time.Second}},
		{"no pods", []look{{1, begun, routing.Decision{}, false}, {5, asked("50", programmed), decided(routing.Decision{}, says("False", "NoReadyPods")), false},
			{60, asked("50", says("False", "NoReadyPods")), decided(write, programmed), true}}, nil},
		{"a new candidate waits for the pin, then for its pods", []look{{1, asked("10"), decided(write, says("False", "Pinning")), true},
			{3, asked("10", says("False", "Pinning")), decided(routing.Decision{}, says("False", "NoReadyPods")), false}, {9, asked("10"), decided(write, programmed), true}}, nil},
		{"an abort", []look{{1, begun, routing.Decision{}, false}, {5, aborted, write, true}}, []time.Duration{0}},
		{"nothing to write", []look{{1, begun, routing.Decision{}, false}, {5, asked("50", programmed), routing.Decision{}, false}, {9, asked("50", programmed), write, true}}, nil},
		{"another process began it", []look{{5, asked("50", programmed), write, true}}, nil},
	} {
		h := newHistories().of(webService)
		var got []time.Duration
		for _, l := range c.looks {
			f := facts(l.at, l.is)
			h.observe(f)
			got = append(got, h.answer(f, l.d, l.routed, f.Now)...)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}
