package observe

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func keys(list []types.NamespacedName) string {
	set := map[string]bool{}
	for _, k := range list {
		set[k.Name] = true
	}
	return strings.Join(slices.Sorted(maps.Keys(set)), ",")
}

func TestWithoutAReleaseNothingIsEnqueued(t *testing.T) {
	s := world(t, service("web", app), deployment("web", nil))
	for what, got := range map[string][]types.NamespacedName{
		"Deployment":     AffectedByDeployment(s, deployment("web", nil)),
		"pod":            AffectedByPod(s, PodOf(pod("p", "web", nil))),
		"Service":        AffectedByService(s, service("web", app)),
		"VirtualService": AffectedByIstio(s, virtualService("theirs", "web")),
		"wildcard":       AffectedByIstio(s, virtualService("wide", "*")),
	} {
		if len(got) != 0 {
			t.Errorf("%s: enqueued %v, want nothing", what, got)
		}
	}
}

func TestEventsLeadToTheirServices(t *testing.T) {
	lost := deployment("lost", map[string]string{"grayscale.dev/strategy": "mirror", "grayscale.dev/service": "gone"})
	nowhere := deployment("nowhere", canary)
	nowhere.Spec.Template.Labels = map[string]string{"app": "nobody"}
	s := world(t, service("web", app), service("other", map[string]string{"app": "other"}), deployment("web", nil), deployment("web-v2", canary),
		lost, nowhere, virtualService("old-grayscale", "old.shop.svc.cluster.local"))
	for _, c := range []struct {
		what string
		got  []types.NamespacedName
		want string
	}{
		{"a candidate", AffectedByDeployment(s, deployment("web-v2", canary)), "gone,web"},
		{"a stable without annotations", AffectedByDeployment(s, deployment("web", nil)), "gone,web"},
		{"a Deployment naming a missing Service", AffectedByDeployment(s, lost), "gone,web"},
		{"a Deployment behind nothing", AffectedByDeployment(s, nowhere), ""},
		{"a pod of the release", AffectedByPod(s, PodOf(pod("p", "web", nil))), "gone,web"},
		{"the Service", AffectedByService(s, service("web", app)), ",gone,web"},
		{"a Service that is named but was missing", AffectedByService(s, service("gone", map[string]string{"app": "gone"})), ",gone,web"},
		{"a Service of nobody's", AffectedByService(s, service("other", map[string]string{"app": "other"})), ""},
		{"a derived VirtualService", AffectedByIstio(s, virtualService("web-grayscale", "x")), "gone,web"},
		{"somebody's for the host", AffectedByIstio(s, virtualService("theirs", "web.shop.svc.cluster.local")), "gone,web"},
		{"somebody's for the host, named like a derived one", AffectedByIstio(s, virtualService("mine-grayscale", "web.shop.svc.cluster.local")), "gone,mine,web"},
		{"somebody's for every host", AffectedByIstio(s, virtualService("wide", "*")), ",gone,old,web"},
	} {
		if got := keys(c.got); got != c.want {
			t.Errorf("%s: enqueued %q, want %q", c.what, got, c.want)
		}
	}
	if got := AffectedByDeployment(s, nowhere); len(got) != 1 || got[0].Namespace != shop {
		t.Errorf("a Deployment behind nothing: enqueued %v, want its namespace's key without a name", got)
	}
}

// A change at one Service of a candidate matters to its other Services, because the candidate's hold, conditions and
// owned annotations depend on all of them.
func TestEventsLeadToSiblings(t *testing.T) {
	v2 := deployment("web-v2", map[string]string{"grayscale.dev/strategy": "canary", "grayscale.dev/service": "web"})
	internal := map[string]string{"app": "web", "tier": "back"}
	v2.Spec.Template.Labels["tier"] = "back"
	worker := deployment("worker", nil)
	worker.Spec.Template.Labels = internal
	s := world(t, service("web", app), service("web-internal", internal), service("cart", map[string]string{"app": "cart"}), deployment("web", nil), v2, worker)
	for what, got := range map[string][]types.NamespacedName{
		"a derived VirtualService":   AffectedByIstio(s, virtualService("web-internal-grayscale", "x")),
		"somebody's for the host":    AffectedByIstio(s, virtualService("theirs", "web-internal.shop.svc.cluster.local")),
		"a pod that only one has":    AffectedByPod(s, PodOf(pod("p", "web", nil))),
		"a stable that only one has": AffectedByDeployment(s, deployment("web", nil)),
		"a Service":                  AffectedByService(s, service("web-internal", internal)),
	} {
		if got := strings.Trim(keys(got), ","); got != "web,web-internal" {
			t.Errorf("%s: enqueued %q, want both", what, got)
		}
	}
}

func TestAConditionLeftBehindIsReconciled(t *testing.T) {
	d := deployment("web", nil)
	d.Status.Conditions = []appsv1.DeploymentCondition{{Type: "grayscale.dev/Accepted"}}
	s := world(t, service("web", app), d)
	if got := keys(AffectedByDeployment(s, d)); got != "web" {
		t.Errorf("enqueued %q, want web: the condition has to go", got)
	}
}

func TestUpdatesThatCannotMatterAreDropped(t *testing.T) {
	d := deployment("web", canary)
	rolled := d.DeepCopy()
	rolled.ResourceVersion, rolled.Status.ReadyReplicas, rolled.Status.ObservedGeneration = "2", 3, 4
	rolled.Annotations = map[string]string{"grayscale.dev/strategy": "canary", "team": "a"}
	if !SameDeployment(d, rolled) {
		t.Error("a Deployment's replica counts and foreign annotations matter, want them dropped")
	}
	for what, change := range map[string]func(*appsv1.Deployment){
		"weight":   func(d *appsv1.Deployment) { d.Annotations["grayscale.dev/weight"] = "5" },
		"replicas": func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32) },
		"paused":   func(d *appsv1.Deployment) { d.Spec.Paused = true },
		"deletion": func(d *appsv1.Deployment) { d.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} },
		"template": func(d *appsv1.Deployment) { d.Spec.Template.Labels = nil },
		"condition": func(d *appsv1.Deployment) {
			d.Status.Conditions = []appsv1.DeploymentCondition{{Type: "grayscale.dev/Accepted"}}
		},
	} {
		moved := d.DeepCopy()
		change(moved)
		if SameDeployment(d, moved) {
			t.Errorf("a change of %s is dropped", what)
		}
	}
	p := pod("p", "web", nil)
	started := p.DeepCopy()
	started.ResourceVersion, started.Status.PodIP = "2", "10.0.0.1"
	if !SamePod(PodOf(p), PodOf(started)) {
		t.Error("a pod's address matters, want it dropped")
	}
	for what, change := range map[string]func(*corev1.Pod){
		"readiness": func(p *corev1.Pod) { p.Status.Conditions[0].Status = corev1.ConditionFalse },
		"deletion":  func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} },
		"labels":    func(p *corev1.Pod) { p.Labels["version"] = "v1" },
		"end":       func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed },
	} {
		moved := p.DeepCopy()
		change(moved)
		if SamePod(PodOf(p), PodOf(moved)) {
			t.Errorf("a change of a pod's %s is dropped", what)
		}
	}
}
