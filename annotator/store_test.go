package annotator

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/testing/protocmp"
	"istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/routing/cluster"
	"grayscale.dev/grayscale/routing/release"
)

// drawnCluster is a few objects whose names, labels and selectors meet in many ways.
func drawnCluster(t *rapid.T) *observe.Snapshot {
	s := &observe.Snapshot{ClusterDomain: "cluster.local", IstioServed: true}
	names, values := []string{"web", "api", "web-v2", "cart"}, rapid.SampledFrom([]string{"web", "api", ""})
	some := func(kind string) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(names), 0, len(names), rapid.ID).Draw(t, kind)
	}
	labels := func(what string) map[string]string {
		out := map[string]string{}
		for _, key := range []string{"app", "tier", "version"} {
			if v := values.Draw(t, what+" "+key); v != "" {
				out[key] = v
			}
		}
		return out
	}
	for _, name := range some("Services") {
		s.Services = append(s.Services, service(name, labels("selector of "+name)))
	}
	for _, name := range some("Deployments") {
		d := deployment(name, rapid.SampledFrom([]map[string]string{nil, canary, {"grayscale.dev/service": "web"},
			{"grayscale.dev/strategy": "canary", "grayscale.dev/service": "api, gone"}}).Draw(t, "annotations"))
		d.Spec.Template.Labels = labels("template of " + name)
		d.Spec.Selector.MatchLabels = map[string]string{"app": d.Spec.Template.Labels["app"]}
		s.Deployments = append(s.Deployments, d)
	}
	for _, name := range some("pods") {
		more := labels("pods of " + name)
		for n := range rapid.IntRange(1, 3).Draw(t, "pods") {
			p := pod(fmt.Sprintf("%s-abc-%d", name, n), name, more)
			p.Labels["version"] = values.Draw(t, "version")
			drawState(t, p)
			s.Pods = append(s.Pods, p)
		}
	}
	for _, name := range some("VirtualServices") {
		host := rapid.SampledFrom([]string{"web", "api.shop.svc.cluster.local", "*.cluster.local", "*"})
		vs := &networkingv1.VirtualService{ObjectMeta: meta(name + "-grayscale")}
		vs.Spec.Hosts = rapid.SliceOfN(host, 1, 2).Draw(t, "hosts")
		s.VirtualServices = append(s.VirtualServices, vs)
	}
	for _, name := range some("DestinationRules") {
		s.DestinationRules = append(s.DestinationRules, &networkingv1.DestinationRule{ObjectMeta: meta(name + "-grayscale"),
			Spec: v1alpha3.DestinationRule{Host: rapid.SampledFrom(names).Draw(t, "host")}})
	}
	return s
}

// drawState has a pod become ready, unready or ended, be deleted, or belong to somebody else.
func drawState(t *rapid.T, p *corev1.Pod) {
	p.Status.Conditions[0].Status = rapid.SampledFrom([]corev1.ConditionStatus{corev1.ConditionTrue, corev1.ConditionFalse}).Draw(t, "ready")
	p.Status.Phase = rapid.SampledFrom([]corev1.PodPhase{corev1.PodRunning, corev1.PodRunning, corev1.PodFailed}).Draw(t, "phase")
	p.DeletionTimestamp = rapid.SampledFrom([]*metav1.Time{nil, nil, {Time: time.Unix(1000, 0)}}).Draw(t, "deleted")
	switch rapid.IntRange(0, 4).Draw(t, "owner") {
	case 0:
		p.OwnerReferences = nil
	case 1:
		p.OwnerReferences = []metav1.OwnerReference{{Kind: "StatefulSet", Name: "db", Controller: new(bool)}}
		*p.OwnerReferences[0].Controller = true
	}
}

// storeOf keeps what a snapshot has.
func storeOf(t *rapid.T, s *observe.Snapshot) *Caches {
	c := emptyCaches(s.ClusterDomain)
	r := &routes{newShelf(virtualServiceKind(c.domain)), newShelf(destinationRuleKind(c.domain)), func() {}}
	c.routes.Store(r)
	add := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range s.Services {
		add((&feed[*corev1.Service]{shelf: c.services}).Add(o))
	}
	for _, o := range s.Deployments {
		add((&feed[*appsv1.Deployment]{shelf: c.deployments}).Add(o))
	}
	for _, o := range s.Pods {
		add((&feed[*corev1.Pod]{shelf: c.pods}).Add(o))
	}
	for _, o := range s.VirtualServices {
		add((&feed[*networkingv1.VirtualService]{shelf: r.virtualServices}).Add(o))
	}
	for _, o := range s.DestinationRules {
		add((&feed[*networkingv1.DestinationRule]{shelf: r.destinationRules}).Add(o))
	}
	return c
}

// What is gathered does not depend on who reads: the store's indexes find what a search through plain lists finds, and what it
// has summed up of pods is renewed when one comes, changes or goes.
func TestStoreAndPlainListsGiveTheSameFacts(t *testing.T) {
	sorted := func(list []types.NamespacedName) []string {
		var out []string
		for _, key := range list {
			out = append(out, key.String())
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	same := []cmp.Option{cmpopts.EquateEmpty(), protocmp.Transform(), cmp.Transformer("meta", func(m metav1.ObjectMeta) string { return m.Namespace + "/" + m.Name })}
	rapid.Check(t, func(t *rapid.T) {
		lists := drawnCluster(t)
		store := storeOf(t, lists)
		compare := func() {
			for _, name := range []string{"web", "api", "web-v2", "cart", "gone", ""} {
				key := types.NamespacedName{Namespace: shop, Name: name}
				want, got := observe.Gather(lists, key, observe.Moment{}).Facts, observe.Gather(store, key, observe.Moment{}).Facts
				if diff := cmp.Diff(want, got, same...); diff != "" {
					t.Errorf("Service %q: plain lists give -, the store +:\n%s", name, diff)
				}
				if a, b := observe.Active(lists, key), observe.Active(store, key); a != b {
					t.Errorf("Service %q: active is %v with plain lists, %v with the store", name, a, b)
				}
			}
		}
		compare()
		for range rapid.IntRange(0, 3).Draw(t, "changes") {
			changePods(t, lists, store)
			compare()
		}
		if a, b := sorted(observe.All(lists)), sorted(observe.All(store)); !slices.Equal(a, b) {
			t.Errorf("all are %v with plain lists, %v with the store", a, b)
		}
		for _, d := range lists.Deployments {
			if a, b := sorted(observe.AffectedByDeployment(lists, d)), sorted(observe.AffectedByDeployment(store, d)); !slices.Equal(a, b) {
				t.Errorf("Deployment %s affects %v with plain lists, %v with the store", d.Name, a, b)
			}
		}
	})
}

// changePods has one pod come, change or go.
func changePods(t *rapid.T, lists *observe.Snapshot, store *Caches) {
	feed, i := &feed[*corev1.Pod]{shelf: store.pods}, rapid.IntRange(0, len(lists.Pods)).Draw(t, "which")
	var err error
	switch {
	case i == len(lists.Pods):
		p := pod(fmt.Sprintf("web-abc-new-%d", i), "web", map[string]string{"version": "web"})
		lists.Pods = append(lists.Pods, p)
		err = feed.Add(p)
	case rapid.Bool().Draw(t, "it goes"):
		err = feed.Delete(lists.Pods[i])
		lists.Pods = slices.Delete(lists.Pods, i, i+1)
	default:
		lists.Pods[i] = lists.Pods[i].DeepCopy()
		drawState(t, lists.Pods[i])
		err = feed.Update(lists.Pods[i])
	}
	if err != nil {
		t.Fatal(err)
	}
}

// The Services that admission is told of a Deployment place it where all of its namespace would, whatever version label it gets.
func TestServicesForAreEnough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lists := drawnCluster(t)
		store := storeOf(t, lists)
		var all []release.Service
		for _, s := range lists.Services {
			all = append(all, cluster.Service(s))
		}
		for _, d := range lists.Deployments {
			one := cluster.Deployment(d)
			some := observe.ServicesFor(store, shop, one)
			for _, version := range []string{"web", "api", "v3"} {
				one.TemplateLabels = maps.Clone(one.TemplateLabels)
				one.TemplateLabels[release.VersionLabel] = version
				want, got := release.Parse(shop, one, all).Placed, release.Parse(shop, one, some).Placed
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("Deployment %s as %s: all Services give -, the store's +:\n%s", d.Name, version, diff)
				}
			}
		}
	})
}

// Of other people's VirtualServices the store keeps whom they are for; of the derived ones, everything.
func TestStoreKeepsOurRoutesWhole(t *testing.T) {
	routes := func(name string) *networkingv1.VirtualService {
		return &networkingv1.VirtualService{ObjectMeta: meta(name), Spec: v1alpha3.VirtualService{Hosts: []string{"web"}, Http: []*v1alpha3.HTTPRoute{{}}}}
	}
	f := seenBy(t, world(t, service("web", app), routes("web-grayscale"), routes("theirs")), "web")
	if observe.IstioIn(f).VirtualService == nil || len(observe.IstioIn(f).VirtualService.Spec.Http) != 1 {
		t.Errorf("ours is %v, want it whole", observe.IstioIn(f).VirtualService)
	}
	if len(observe.IstioIn(f).OtherVirtualServices) != 1 || len(observe.IstioIn(f).OtherVirtualServices[0].Spec.Http) != 0 || strings.Join(observe.IstioIn(f).OtherVirtualServices[0].Spec.Hosts, "") != "web" {
		t.Errorf("others are %v, want the one without its routes, which nobody reads", observe.IstioIn(f).OtherVirtualServices)
	}
}
