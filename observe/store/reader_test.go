package store

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

var drawnNames = []string{"web", "api", "web-v2", "cart"}

// drawnObjects are a few objects whose names, labels and selectors meet in many ways.
func drawnObjects(t *rapid.T) []any {
	some := func(kind string) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(drawnNames), 0, len(drawnNames), rapid.ID).Draw(t, kind)
	}
	var out []any
	for _, name := range some("Services") {
		out = append(out, service(name, drawnLabels(t, "selector of "+name)))
	}
	annotations := rapid.SampledFrom([]map[string]string{nil, canary, {"grayscale.dev/service": "web"},
		{"grayscale.dev/strategy": "canary", "grayscale.dev/service": "api, gone"}})
	for _, name := range some("Deployments") {
		d := deployment(name, annotations.Draw(t, "annotations"))
		d.Spec.Template.Labels = drawnLabels(t, "template of "+name)
		d.Spec.Selector.MatchLabels = map[string]string{"app": d.Spec.Template.Labels["app"]}
		out = append(out, d)
	}
	for _, name := range some("pods") {
		out = append(out, drawnPod(t, name+"-abc-1", name), drawnPod(t, name+"-abc-2", name))
	}
	host := rapid.SampledFrom([]string{"web", "api.shop.svc.cluster.local", "*.cluster.local", "*"})
	for _, name := range some("VirtualServices") {
		vs := &networkingv1.VirtualService{ObjectMeta: meta(name + "-grayscale")}
		vs.Spec.Hosts = rapid.SliceOfN(host, 1, 2).Draw(t, "hosts")
		out = append(out, vs)
	}
	for _, name := range some("DestinationRules") {
		out = append(out, &networkingv1.DestinationRule{ObjectMeta: meta(name + "-grayscale"),
			Spec: v1alpha3.DestinationRule{Host: rapid.SampledFrom(drawnNames).Draw(t, "host")}})
	}
	return out
}

func drawnLabels(t *rapid.T, what string) map[string]string {
	out := map[string]string{}
	for _, key := range []string{"app", "tier", "version"} {
		if v := rapid.SampledFrom([]string{"web", "api", ""}).Draw(t, what+" "+key); v != "" {
			out[key] = v
		}
	}
	return out
}

// drawnPod may be unready, ended or on its way out, and may belong to somebody else.
func drawnPod(t *rapid.T, name, of string) *corev1.Pod {
	p := pod(name, of, drawnLabels(t, "pod of "+of))
	ready := rapid.SampledFrom([]corev1.ConditionStatus{corev1.ConditionTrue, corev1.ConditionFalse})
	p.Status.Conditions[0].Status = ready.Draw(t, "ready")
	phase := rapid.SampledFrom([]corev1.PodPhase{corev1.PodRunning, corev1.PodRunning, corev1.PodFailed})
	p.Status.Phase = phase.Draw(t, "phase")
	p.DeletionTimestamp = rapid.SampledFrom([]*metav1.Time{nil, nil, {Time: time.Unix(1000, 0)}}).Draw(t, "deleted")
	switch rapid.IntRange(0, 4).Draw(t, "owner") {
	case 0:
		p.OwnerReferences = nil
	case 1:
		p.OwnerReferences[0].Kind, p.OwnerReferences[0].Name = "StatefulSet", "db"
	}
	return p
}

// listsOf are plain lists of the objects.
func listsOf(objects []any) *observe.Snapshot {
	s := &observe.Snapshot{ClusterDomain: "cluster.local", IstioServed: true}
	for _, o := range objects {
		switch o := o.(type) {
		case *appsv1.Deployment:
			s.Deployments = append(s.Deployments, o)
		case *corev1.Pod:
			s.Pods = append(s.Pods, observe.PodOf(o))
		case *corev1.Service:
			s.Services = append(s.Services, o)
		case *networkingv1.VirtualService:
			s.VirtualServices = append(s.VirtualServices, o)
		case *networkingv1.DestinationRule:
			s.DestinationRules = append(s.DestinationRules, o)
		}
	}
	return s
}

// What is gathered does not depend on who reads: the store's indexes find what a search through plain lists finds, also
// after objects have come, changed and gone.
func TestStoreAndPlainListsGiveTheSameFacts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		objects := drawnObjects(t)
		s := world(t, objects...)
		compareReaders(t, listsOf(objects), s)
		for range rapid.IntRange(0, 3).Draw(t, "changes") {
			objects = change(t, s, objects)
			compareReaders(t, listsOf(objects), s)
		}
	})
}

// change has a pod come or change, or any object go.
func change(t *rapid.T, s *Store, objects []any) []any {
	i := rapid.IntRange(0, len(objects)).Draw(t, "which")
	var err error
	switch {
	case i == len(objects):
		p := drawnPod(t, fmt.Sprintf("web-abc-new-%d", i), "web")
		objects, err = append(objects, p), sinkFor(s, p).Add(p)
	case rapid.Bool().Draw(t, "it goes"):
		err = sinkFor(s, objects[i]).Delete(objects[i])
		objects = slices.Delete(objects, i, i+1)
	default:
		if was, ok := objects[i].(*corev1.Pod); ok {
			objects[i] = drawnPod(t, was.Name, "web-v2")
		}
		err = sinkFor(s, objects[i]).Update(objects[i])
	}
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func compareReaders(t *rapid.T, lists, store observe.Reader) {
	same := []cmp.Option{cmpopts.EquateEmpty(), protocmp.Transform(), cmp.Transformer("meta", func(m metav1.ObjectMeta) string {
		return m.Namespace + "/" + m.Name
	})}
	for _, name := range append(drawnNames, "gone", "") {
		key := types.NamespacedName{Namespace: shop, Name: name}
		want, got := observe.Gather(lists, key, observe.Moment{}).Facts, observe.Gather(store, key, observe.Moment{}).Facts
		if diff := cmp.Diff(want, got, same...); diff != "" {
			t.Errorf("Service %q: plain lists give -, the store +:\n%s", name, diff)
		}
		if a, b := observe.Active(lists, key), observe.Active(store, key); a != b {
			t.Errorf("Service %q: active is %v with plain lists, %v with the store", name, a, b)
		}
	}
	if a, b := sorted(observe.All(lists)), sorted(observe.All(store)); !slices.Equal(a, b) {
		t.Errorf("all are %v with plain lists, %v with the store", a, b)
	}
	for _, d := range lists.(*observe.Snapshot).Deployments {
		a, b := sorted(observe.AffectedByDeployment(lists, d)), sorted(observe.AffectedByDeployment(store, d))
		if !slices.Equal(a, b) {
			t.Errorf("Deployment %s affects %v with plain lists, %v with the store", d.Name, a, b)
		}
	}
}

func sorted(list []types.NamespacedName) []string {
	var out []string
	for _, key := range list {
		out = append(out, key.String())
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// The Services that admission gets of a Deployment place it where all of its namespace would, whatever version label it
// gets.
func TestServicesForAreEnough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		objects := drawnObjects(t)
		s, lists := world(t, objects...), listsOf(objects)
		var all []release.Service
		for _, o := range lists.Services {
			all = append(all, cluster.Service(o))
		}
		for _, d := range lists.Deployments {
			one := cluster.Deployment(d)
			some := observe.ServicesFor(s, shop, one)
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
		vs := &networkingv1.VirtualService{ObjectMeta: meta(name)}
		vs.Spec.Hosts, vs.Spec.Http = []string{"web"}, []*v1alpha3.HTTPRoute{{}}
		return vs
	}
	f := seenBy(world(t, service("web", app), routes("web-grayscale"), routes("theirs")), "web")
	if observe.IstioIn(f).VirtualService == nil || len(observe.IstioIn(f).VirtualService.Spec.Http) != 1 {
		t.Errorf("ours is %v, want it whole", observe.IstioIn(f).VirtualService)
	}
	others := observe.IstioIn(f).OtherVirtualServices
	if len(others) != 1 || len(others[0].Spec.Http) != 0 || strings.Join(others[0].Spec.Hosts, "") != "web" {
		t.Errorf("others are %v, want the one without its routes, which nobody reads", others)
	}
}
