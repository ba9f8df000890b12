package observe

import (
	"testing"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/routing/istio"
)

var webService = types.NamespacedName{Namespace: shop, Name: "web"}

func at(seconds int64) time.Time { return time.Unix(seconds, 0) }

// A pod has been ready for as long as this process has seen it ready, with one label and without a break. The clock of
// its node does not matter.
func TestReadinessIsByOurOwnClock(t *testing.T) {
	m, p := NewFirstSeen(), pod("p", "web", map[string]string{"version": "v1"})
	p.UID = "p"
	p.Status.Conditions[0].LastTransitionTime = metav1.Unix(7, 0)
	for _, step := range []struct {
		what   string
		now    int64
		change func()
		since  int64
	}{
		{"seen first", 100, func() {}, 100},
		{"seen again", 110, func() {}, 100},
		{"another label", 120, func() { p.Labels = map[string]string{"version": "v2"} }, 120},
		{"unready and ready again in between", 130, func() { p.Status.Conditions[0].LastTransitionTime = metav1.Unix(9, 0) }, 130},
		{"seen again", 140, func() {}, 130},
	} {
		step.change()
		if got := m.readyPods(webService, at(step.now), grouped([]*Pod{PodOf(p)}))["p"]; !got.Equal(at(step.since)) {
			t.Errorf("%s: since %d, want %d", step.what, got.Unix(), step.since)
		}
	}
	p.Status.Conditions[0].Status = corev1.ConditionFalse
	if got := m.readyPods(webService, at(150), grouped([]*Pod{PodOf(p)})); len(got) != 0 {
		t.Errorf("unready: %v", got)
	}
}

// The times in a derived object count from when it was first seen, unless this process wrote it.
func TestTimesFromOthersCountFromNow(t *testing.T) {
	m := NewFirstSeen()
	see := func(now int64, routes, rule string) (int64, int64) {
		var in istio.Mesh
		if routes != "" {
			in.VirtualService = &networkingv1.VirtualService{ObjectMeta: metav1.ObjectMeta{ResourceVersion: routes}}
		}
		if rule != "" {
			in.DestinationRule = &networkingv1.DestinationRule{ObjectMeta: metav1.ObjectMeta{ResourceVersion: rule}}
		}
		f := m.objects(webService, in, Moment{Now: at(now)})
		return f.RoutesSince.Unix(), f.RuleSince.Unix()
	}
	for _, step := range []struct {
		what               string
		wrote              string
		now                int64
		routes, rule       string
		wantRoutes, wantDR int64
	}{
		{"found there", "", 100, "5", "4", 100, 100},
		{"the routes written by us", "6", 110, "6", "4", 100, 100},
		{"the routes edited", "", 130, "7", "4", 130, 100},
		{"the rule removed", "", 140, "7", "", 130, 140},
		{"nothing changed", "", 150, "7", "", 130, 140},
	} {
		if step.wrote != "" {
			m.Wrote(webService, KindVirtualService, step.wrote)
		}
		if routes, rule := see(step.now, step.routes, step.rule); routes != step.wantRoutes || rule != step.wantDR {
			t.Errorf("%s: since %d and %d, want %d and %d", step.what, routes, rule, step.wantRoutes, step.wantDR)
		}
	}
	m.Forget(webService)
	if len(m.services) != 0 {
		t.Errorf("it remembers %v", m.services)
	}
}

// After an outage, the mesh learns of everything later than this process does.
func TestTimesCountFromTheEndOfAnOutage(t *testing.T) {
	version := metav1.ObjectMeta{ResourceVersion: "1"}
	m, in := NewFirstSeen(), istio.Mesh{VirtualService: &networkingv1.VirtualService{ObjectMeta: version},
		DestinationRule: &networkingv1.DestinationRule{ObjectMeta: version}, OtherDestinationRules: []*networkingv1.DestinationRule{{ObjectMeta: version}}}
	m.objects(webService, in, Moment{Now: at(100)})
	for _, c := range []struct{ back, want int64 }{{90, 100}, {105, 105}, {150, 150}} {
		f := m.objects(webService, in, Moment{Now: at(110), Back: at(c.back)})
		if !f.RoutesSince.Equal(at(c.want)) || !f.RuleSince.Equal(at(c.want)) || !f.OtherRulesSince.Equal(at(100)) {
			t.Errorf("back at %d: routes since %d, rule since %d, others since %d; want %d and others since 100",
				c.back, f.RoutesSince.Unix(), f.RuleSince.Unix(), f.OtherRulesSince.Unix(), c.want)
		}
	}
}
