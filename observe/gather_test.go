package observe

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/release"
)

func deploymentNames(f routing.Facts) string {
	var out []string
	for _, d := range f.Deployments {
		out = append(out, d.Name)
	}
	return strings.Join(out, " ")
}

func TestObserveGathersWhoIsBehindTheService(t *testing.T) {
	named := deployment("named", map[string]string{"grayscale.dev/strategy": "canary", "grayscale.dev/service": "gone"})
	marked := deployment("marked", map[string]string{"grayscale.dev/version": "v1"})
	lost := deployment("lost", canary)
	lost.Spec.Template.Labels = map[string]string{"app": "other"}
	s := world(t, service("web", app), service("web-headless", map[string]string{"release": "marked"}), service("bare", nil),
		deployment("web", nil), deployment("web-v2", canary), named, marked, lost)
	for name, want := range map[string]string{
		"web":          "marked named web web-v2", // all of them send its pods requests, whatever each Deployment names
		"web-headless": "marked",                  // stable may serve behind several Services
		"gone":         "named",
		"":             "lost",
		"bare":         "",
	} {
		f := seenBy(t, s, name)
		if got := deploymentNames(f); got != want {
			t.Errorf("Service %q has Deployments %q, want %q", name, got, want)
		}
		if missing := name == "" || name == "gone"; f.Service.Missing != missing {
			t.Errorf("Service %q: missing is %v, want %v", name, f.Service.Missing, missing)
		}
	}
}

// A candidate is decided with the facts about each of its Services. Other Services are not read.
func TestObserveGathersWhatIsBeside(t *testing.T) {
	both := deployment("web-v2", map[string]string{"grayscale.dev/strategy": "canary", "grayscale.dev/service": "web, gone"})
	s := world(t, service("web", app), service("web-internal", app), service("cart", map[string]string{"app": "cart"}), deployment("web", nil), both,
		virtualService("web-internal-grayscale", "web-internal.shop.svc.cluster.local"))
	for name, want := range map[string][2]string{
		"web":          {"web-internal", "web-internal"},
		"web-internal": {"web", "web"},
		"gone":         {"web web-internal", "web web-internal"},
		"cart":         {"", ""},
	} {
		f := seenBy(t, s, name)
		var others, beside []string
		for _, o := range f.Services {
			others = append(others, o.Name)
		}
		for _, b := range f.Beside {
			beside = append(beside, b.Service.Name)
			if b.Service.Name == "web-internal" && (IstioIn(b).VirtualService == nil || deploymentNames(b) != "web web-v2") {
				t.Errorf("Service %q knows of %s: VirtualService %v, Deployments %q", name, b.Service.Name, IstioIn(b).VirtualService, deploymentNames(b))
			}
		}
		if got := [2]string{strings.Join(others, " "), strings.Join(beside, " ")}; got != want {
			t.Errorf("Service %q has others %q, facts beside of %q; want %q", name, got[0], got[1], want)
		}
	}
	plain := world(t, service("web", app), service("web-internal", app), deployment("web", nil))
	if f := seenBy(t, plain, "web"); len(f.Services) != 1 || len(f.Beside) != 0 {
		t.Errorf("without a release: others %v, beside %v; want the name of the other one alone", f.Services, f.Beside)
	}
}

func TestObserveCountsPods(t *testing.T) {
	unready := pod("unready", "web", nil)
	unready.Status.Conditions[0].Status = corev1.ConditionFalse
	terminating := pod("terminating", "web", map[string]string{"version": "v1"})
	terminating.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	hidden := pod("hidden", "web", map[string]string{"app": "debug"})
	evicted := pod("evicted", "web", nil)
	evicted.Status.Phase = corev1.PodFailed
	long, short := pod("long", "web", map[string]string{"version": "v1"}), pod("short", "web", map[string]string{"version": "v1"})
	long.Status.Conditions[0].LastTransitionTime = metav1.Unix(10, 0)
	short.Status.Conditions[0].LastTransitionTime = metav1.Unix(20, 0)
	d := deployment("web", nil)
	d.Spec.Selector.MatchLabels = map[string]string{"release": "web"}
	s := world(t, service("web", app), d, unready, terminating, hidden, evicted, short, long,
		pod("stray", "deleted", map[string]string{"version": "v0"}))
	f := seenBy(t, s, "web")
	// hidden is not selected by the Service; unready is, but has no version label.
	want := []release.Pods{{Version: "", Ready: 0, Total: 2}, {Version: "v1", Ready: 2, Total: 3, Since: time.Unix(1000, 0).UTC()}}
	if got := f.Deployments[0].Pods; !slices.Equal(got, want) {
		t.Errorf("pods are %+v, want %+v", got, want)
	}
	if len(f.Strays) != 1 || f.Strays[0].Version != "v0" || f.Strays[0].Total != 1 {
		t.Errorf("strays are %+v, want one of v0", f.Strays)
	}
}

func TestObserveFindsTheDeploymentOfAPodWithALongName(t *testing.T) {
	name := strings.Repeat("d", 250)
	d := deployment(name, nil)
	d.Spec.Selector.MatchLabels = app
	p := pod("p", name, nil)
	p.OwnerReferences[0].Name = name[:253-len("-abc")] + "-abc" // as generateReplicaSetName cuts it
	if f := seenBy(t, world(t, service("web", app), d, p), "web"); len(f.Deployments[0].Pods) != 1 || len(f.Strays) != 0 {
		t.Errorf("pods %+v, strays %+v; want the pod at its Deployment", f.Deployments[0].Pods, f.Strays)
	}
}

func virtualService(name string, hosts ...string) *networkingv1.VirtualService {
	return &networkingv1.VirtualService{ObjectMeta: meta(name), Spec: v1alpha3.VirtualService{Hosts: hosts, Http: []*v1alpha3.HTTPRoute{{}}}}
}

func TestObserveFindsWhoNamesTheHost(t *testing.T) {
	s := world(t, service("web", app), virtualService("web-grayscale", "web.shop.svc.cluster.local"), virtualService("short", "web"),
		virtualService("wide", "*.shop.svc.cluster.local"), virtualService("both", "web", "*"), virtualService("elsewhere", "cart"))
	f := seenBy(t, s, "web")
	if IstioIn(f).VirtualService == nil || len(IstioIn(f).VirtualService.Spec.Http) != 1 {
		t.Errorf("ours is %v, want it whole", IstioIn(f).VirtualService)
	}
	var others []string
	for _, vs := range IstioIn(f).OtherVirtualServices {
		others = append(others, vs.Name)
	}
	if got := strings.Join(others, " "); got != "both short wide" {
		t.Errorf("others are %q, want \"both short wide\"", got)
	}
}

func TestObserveWithoutIstio(t *testing.T) {
	s := world(t, service("web", app), deployment("web", canary))
	s.IstioServed = false
	if f := seenBy(t, s, "web"); !IstioIn(f).Missing {
		t.Error("IstioMissing is false while the kinds are not served")
	}
}

// Owners of pods that are not Deployments are named once for each version. Pods that are ending do not count.
func TestObserveNamesOtherWorkloads(t *testing.T) {
	owned := func(kind, owner, name, version string) *corev1.Pod {
		p := pod(name, owner, map[string]string{"version": version})
		delete(p.Labels, "pod-template-hash")
		p.OwnerReferences[0].Kind, p.OwnerReferences[0].Name = kind, owner
		return p
	}
	bare, ending, done := owned("", "", "bare", ""), owned("Job", "ending", "ending-1", ""), owned("Job", "done", "done-1", "")
	bare.OwnerReferences = nil
	ending.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	done.Status.Phase = corev1.PodSucceeded
	s := world(t, service("web", app), deployment("web", nil), pod("one", "web", nil), pod("of-a-deleted-one", "gone", nil), bare, ending, done,
		owned("StatefulSet", "db", "db-0", "v1"), owned("StatefulSet", "db", "db-1", "v1"), owned("Job", "import", "import-x", ""))
	want := []routing.Workload{{Kind: "Job", Name: "import"}, {Kind: "Pod", Name: "bare"}, {Kind: "StatefulSet", Name: "db", Version: "v1"}}
	if diff := cmp.Diff(want, seenBy(t, s, "web").Workloads); diff != "" {
		t.Error(diff)
	}
}
