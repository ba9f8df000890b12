package routing_test

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

// The simulator (test/sim) found these stories. They need facts that golden stories cannot express.

var twoSeconds = routing.Settings{Settle: 2 * time.Second, ClusterDomain: "cluster.local", RootNamespace: "istio-system"}

// canaryFacts are stable v1 and candidate v2, both long ready, before anything is written.
func canaryFacts() routing.Facts {
	return routing.Facts{Now: begin, Mesh: &istio.Mesh{}, Service: release.Service{Namespace: "shop", Name: "reviews", UID: "0a",
		Selector: map[string]string{"app": "reviews"}, Ports: []release.Port{{Name: "http", Number: 80}}},
		Deployments: []release.Deployment{
			{Name: "reviews-v1", TemplateLabels: map[string]string{"app": "reviews", "version": "v1"}, Replicas: 2,
				Pods: []release.Pods{{Version: "v1", Ready: 2, Total: 2}}},
			{Name: "reviews-v2", CreatedAt: begin.Add(-time.Hour), TemplateLabels: map[string]string{"app": "reviews", "version": "v2"}, Replicas: 2,
				Annotations: map[string]string{intent.KeyStrategy: "canary", intent.KeyWeight: "10"},
				Pods:        []release.Pods{{Version: "v2", Ready: 2, Total: 2}}}}}
}

// follow makes every step that is due, and returns the decisions.
func follow(t *testing.T, f *routing.Facts) []decision {
	t.Helper()
	return decideAll(t, "follow", f, twoSeconds)
}

func pass(f *routing.Facts, d time.Duration) { f.Now = f.Now.Add(d) }

func routesOf(f routing.Facts) string {
	if is(&f).VirtualService == nil {
		return ""
	}
	t, _ := istio.Mesh{}.ReadTraffic(is(&f).VirtualService)
	var out []string
	for _, w := range t.Weights {
		out = append(out, w.Version+"="+w.Share.String())
	}
	return strings.Join(out, " ")
}

// canaryServes is the canary at 10 %, with everything settled.
func canaryServes(t *testing.T) routing.Facts {
	t.Helper()
	f := canaryFacts()
	for range 4 {
		follow(t, &f)
		pass(&f, twoSeconds.Settle)
	}
	if got := routesOf(f); got != "v1=90% v2=10%" {
		t.Fatalf("routes are %q", got)
	}
	return f
}

// TestOlderDeploymentsDecideNothing: a new leader may have seen the VirtualService, but not yet the Deployments that it
// was made from.
func TestOlderDeploymentsDecideNothing(t *testing.T) {
	f := canaryFacts()
	f.Seen, f.Newest = "90", "90"
	for range 4 {
		follow(t, &f)
		pass(&f, twoSeconds.Settle)
	}
	weight := "50"
	annotate(&f.Deployments[1], intent.KeyWeight, &weight, "user")
	f.Seen, f.Newest = "1000", "100" // as numbers, 100 is more than 90
	follow(t, &f)
	if got := routesOf(f); got != "v1=50% v2=50%" {
		t.Fatalf("routes are %q", got)
	}
	weight = "10"
	annotate(&f.Deployments[1], intent.KeyWeight, &weight, "user")
	f.Seen, f.Newest = "90", "90"
	if d := decide(f, twoSeconds); !idle(d) || d.After == 0 {
		t.Errorf("decided from Deployments older than the routes: %+v", d)
	}
	f.Seen = "100"
	if d := decide(f, twoSeconds); d.ApplyVirtualService == nil {
		t.Error("nothing is decided from Deployments as new as the routes")
	}
}

// TestAnothersClock: what another process wrote counts from when this one saw it, whatever time it contains.
func TestAnothersClock(t *testing.T) {
	for _, skew := range []time.Duration{-time.Hour, time.Hour} {
		f := canaryFacts()
		follow(t, &f)
		pass(&f, skew) // the next leader has another clock
		f.RoutesSince, f.RuleSince = f.Now, f.Now
		follow(t, &f)
		pass(&f, twoSeconds.Settle-time.Millisecond)
		if follow(t, &f); is(&f).VirtualService != nil {
			t.Errorf("with a clock that is %s ahead, routes refer to subsets after less than settle", skew)
		}
		pass(&f, time.Millisecond)
		if follow(t, &f); is(&f).VirtualService == nil {
			t.Errorf("with a clock that is %s ahead, routes do not come", skew)
		}
	}
}

// TestAnothersClockAndABypass: clients use the subsets again once this process has seen no rule that hides them for
// long enough, whatever the clock of the writer said. An announced rule counts from when this process saw the
// announcement.
func TestAnothersClockAndABypass(t *testing.T) {
	theirs := &networkingv1.DestinationRule{}
	theirs.Namespace, theirs.Name, theirs.Spec.Host = "bank", "theirs", "reviews.shop.svc.cluster.local"
	led := func(f routing.Facts) bool { return len(is(&f).VirtualService.Spec.Http) == 2 }
	for _, skew := range []time.Duration{-time.Hour, time.Hour} {
		for announced, lasts := range map[bool]time.Duration{false: twoSeconds.Settle, true: 15*time.Second + twoSeconds.Settle} {
			f := canaryServes(t)
			if announced {
				is(&f).ComingDestinationRules = []*networkingv1.DestinationRule{theirs}
				follow(t, &f)
				is(&f).ComingDestinationRules = nil
			} else {
				is(&f).OtherDestinationRules = []*networkingv1.DestinationRule{theirs}
				follow(t, &f)
				is(&f).OtherDestinationRules = nil
				follow(t, &f)
			}
			pass(&f, skew)
			f.RoutesSince, f.RuleSince = f.Now, f.Now
			begun := f.Now
			for led(f) && f.Now.Sub(begun) < time.Minute {
				follow(t, &f)
				if led(f) {
					pass(&f, 100*time.Millisecond)
				}
			}
			if got := f.Now.Sub(begun); got < lasts || got > lasts+twoSeconds.Settle {
				t.Errorf("announced %t, with a clock that is %s ahead: the bypass lasts %s, want %s", announced, skew, got, lasts)
			}
		}
	}
}

// TestBypassWithoutAnybodyToServe: a rule that comes while no version serves still gets its bypass.
func TestBypassWithoutAnybodyToServe(t *testing.T) {
	f := canaryServes(t)
	for i := range f.Deployments {
		f.Deployments[i].Pods = nil
	}
	follow(t, &f)
	theirs := &networkingv1.DestinationRule{}
	theirs.Namespace, theirs.Name, theirs.Spec.Host = "bank", "theirs", "reviews.shop.svc.cluster.local"
	is(&f).OtherDestinationRules = []*networkingv1.DestinationRule{theirs}
	follow(t, &f)
	if len(is(&f).VirtualService.Spec.Http) != 2 {
		t.Errorf("nobody is led past the subsets: %v", is(&f).VirtualService.Spec.Http)
	}
}

// TestAnothersClockAtTheEnd: the rule goes in time, even if the process that saw the routes go had a clock an hour
// ahead.
func TestAnothersClockAtTheEnd(t *testing.T) {
	f := canaryServes(t)
	f.Deployments = f.Deployments[:1]
	follow(t, &f)
	pass(&f, -time.Hour)
	f.RoutesSince, f.RuleSince = f.Now, f.Now
	follow(t, &f)
	pass(&f, twoSeconds.Settle)
	if follow(t, &f); is(&f).DestinationRule != nil {
		t.Error("the rule stays")
	}
}

// TestAnothersClockAtADeletion: a deletion waits for what another replica has just written, whatever its clock says.
func TestAnothersClockAtADeletion(t *testing.T) {
	for _, skew := range []time.Duration{-time.Hour, 0, time.Hour} {
		f := canaryServes(t)
		weight := "0"
		annotate(&f.Deployments[1], intent.KeyWeight, &weight, "user")
		follow(t, &f)
		pass(&f, skew)
		f.RoutesSince, f.RuleSince = f.Now, f.Now
		if wait := f.Drained(is(&f).VirtualService, "reviews-v2", twoSeconds); wait != twoSeconds.Settle {
			t.Errorf("with a clock that is %s ahead, the deletion waits for %s", skew, wait)
		}
	}
}

// TestAnothersClockAtAnAnnouncedEnd: an end that another replica has just announced is expected, whatever its clock
// says. If it does not come, the traffic comes back.
func TestAnothersClockAtAnAnnouncedEnd(t *testing.T) {
	for _, skew := range []time.Duration{-time.Hour, 0, time.Hour} {
		f := canaryServes(t)
		f.Leaving = []string{"reviews-v2"}
		follow(t, &f)
		f.Leaving = nil
		pass(&f, skew)
		f.RoutesSince = f.Now
		follow(t, &f)
		if routing.Served(is(&f).VirtualService, "reviews-v2") {
			t.Errorf("with a clock that is %s ahead, the traffic comes back to what is being deleted", skew)
		}
		pass(&f, time.Minute)
		if follow(t, &f); !routing.Served(is(&f).VirtualService, "reviews-v2") {
			t.Errorf("with a clock that is %s ahead, the traffic does not come back to what was not deleted", skew)
		}
	}
}

// TestAnothersClockAtTheHold: a hold ends in time even if the routes were written by a clock an hour ahead and stable
// has gone since, so that the routes are not written again.
func TestAnothersClockAtTheHold(t *testing.T) {
	f := canaryFacts()
	held := &f.Deployments[1]
	held.Annotations[intent.KeyHeld], held.SpecPaused, held.Pods = "true", true, nil
	follow(t, &f)
	pass(&f, twoSeconds.Settle)
	follow(t, &f)
	f.Deployments = f.Deployments[1:]
	pass(&f, -time.Hour)
	f.RoutesSince, f.RuleSince = f.Now, f.Now
	if follow(t, &f); !f.Deployments[0].SpecPaused {
		t.Error("the hold ends before the routes have settled")
	}
	pass(&f, twoSeconds.Settle)
	if follow(t, &f); f.Deployments[0].SpecPaused {
		t.Error("the hold stays")
	}
}

// TestRoutesOnceTakenForGone: the rule is not removed together with the routes because a process that could not see the
// routes recorded long ago that they were gone.
func TestRoutesOnceTakenForGone(t *testing.T) {
	f := canaryServes(t)
	f.Deployments = f.Deployments[:1]
	blind := f
	is(&blind).VirtualService = nil
	obey(&blind, decide(blind, twoSeconds))
	is(&f).DestinationRule = is(&blind).DestinationRule
	pass(&f, twoSeconds.Settle)
	follow(t, &f)
	if is(&f).VirtualService != nil || is(&f).DestinationRule == nil {
		t.Error("routes and rule go at once")
	}
}

// TestConfirm: a write is confirmed if it rests on what the other object says.
func TestConfirm(t *testing.T) {
	f := canaryFacts()
	first := follow(t, &f)
	pass(&f, twoSeconds.Settle)
	pin := follow(t, &f)
	pass(&f, twoSeconds.Settle)
	follow(t, &f)
	weight := "50"
	annotate(&f.Deployments[1], intent.KeyWeight, &weight, "user")
	move := follow(t, &f)
	confirms := func(list []decision) bool {
		return slices.ContainsFunc(list, func(d decision) bool { return !d.plan.RestsOn().IsZero() })
	}
	if !confirms(first) || !confirms(pin) || confirms(move) {
		t.Errorf("confirmed: the first rule %v, the first routes %v, another weight %v; want true, true, false", confirms(first), confirms(pin), confirms(move))
	}
	f.Deployments[1].SpecPaused = true
	f.Deployments[1].Annotations = map[string]string{intent.KeyStrategy: "canary", intent.KeyHeld: "true"}
	f.Deployments[1].Pods = nil
	if d := decide(f, twoSeconds); len(d.Lift) > 0 && !reflect.DeepEqual(d.Confirm, confirmed{VirtualService: true, DestinationRule: true}) {
		t.Error("a hold is lifted without a look whether the routes are there")
	}
	f = canaryServes(t)
	f.Deployments, is(&f).VirtualService = f.Deployments[:1], nil
	if d := decide(f, twoSeconds); d.ApplyDestinationRule == nil || !reflect.DeepEqual(d.Confirm, confirmed{VirtualService: true}) {
		t.Error("the rule is marked as without routes, and nobody has looked whether there are none")
	}
}

var schemaNumber = regexp.MustCompile(`"schema":[0-9]+,`)

// withSchema replaces the schema number in the state of the derived objects.
func withSchema(f *routing.Facts, schema string) {
	m := is(f)
	m.VirtualService, m.DestinationRule = m.VirtualService.DeepCopy(), m.DestinationRule.DeepCopy()
	for _, annotations := range []map[string]string{m.VirtualService.Annotations, m.DestinationRule.Annotations} {
		annotations[intent.KeyState] = schemaNumber.ReplaceAllLiteralString(annotations[intent.KeyState], schema)
	}
}

// TestOlderState: an upgrade writes nothing by itself, and goes on from the state of an older grayscale.
func TestOlderState(t *testing.T) {
	f := canaryServes(t)
	withSchema(&f, "")
	if d := decide(f, twoSeconds); !idle(d) {
		t.Errorf("an upgrade writes: %+v", d)
	}
	weight := "50"
	annotate(&f.Deployments[1], intent.KeyWeight, &weight, "user")
	follow(t, &f)
	if got := routesOf(f); got != "v1=50% v2=50%" {
		t.Errorf("routes are %q", got)
	}
	if state := is(&f).VirtualService.Annotations[intent.KeyState]; !strings.HasPrefix(state, `{"schema":1,`) {
		t.Errorf("the state has no number: %s", state)
	}
}

// TestNewerState: after a downgrade, routes with a state that cannot be read stay exactly as they are, whatever the
// annotations ask for, and their owners learn why.
func TestNewerState(t *testing.T) {
	f := canaryServes(t)
	withSchema(&f, `"schema":2,`)
	weight := "50"
	annotate(&f.Deployments[1], intent.KeyWeight, &weight, "user")
	d := decide(f, twoSeconds)
	if len(d.plan.Writes) > 0 || len(d.Annotate) > 0 {
		t.Errorf("it writes %+v, annotates %+v", d.plan.Writes, d.Annotate)
	}
	follow(t, &f)
	conditions := f.Deployments[1].Conditions
	if len(conditions) != 2 || conditions[0].Status != "False" || conditions[0].Reason != routing.ReasonNewerState ||
		!strings.Contains(conditions[0].Message, "upgrade grayscale") || conditions[1].Reason != routing.ReasonNewerState {
		t.Errorf("conditions are %+v", conditions)
	}
	withSchema(&f, `"schema":1,`) // upgraded again
	if follow(t, &f); routesOf(f) != "v1=50% v2=50%" {
		t.Errorf("routes are %q once it is upgraded again", routesOf(f))
	}
}

// TestRuleWithOurName: a user's DestinationRule with the name of ours is never overwritten.
func TestRuleWithOurName(t *testing.T) {
	f := canaryFacts()
	theirs := &networkingv1.DestinationRule{}
	theirs.Namespace, theirs.Name, theirs.Spec.Host = "shop", "reviews-grayscale", "reviews"
	is(&f).DestinationRule = theirs
	for range 3 {
		if d := follow(t, &f); len(d) > 1 {
			t.Errorf("more than conditions are written: %+v", d[1])
		}
		pass(&f, twoSeconds.Settle)
	}
	accepted := f.Deployments[1].Conditions[0]
	if is(&f).DestinationRule != theirs && is(&f).DestinationRule.Spec.Subsets != nil || is(&f).VirtualService != nil ||
		accepted.Reason != mesh.ReasonNameTaken || !strings.Contains(accepted.Message, "DestinationRule shop/reviews-grayscale") {
		t.Errorf("the rule is %v, the condition %+v", is(&f).DestinationRule, accepted)
	}
}
