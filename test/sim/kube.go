package sim

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"grayscale.dev/grayscale/observe"
	facts "grayscale.dev/grayscale/routing/cluster"
	"grayscale.dev/grayscale/routing/release"
)

// What the product reads has Kubernetes' own types. Each stored version is turned into these once, and nobody changes
// what came of it.

// kube is the Deployment as the API server tells it.
func (d *deployment) kube() *appsv1.Deployment {
	if d.memo != nil {
		return d.memo
	}
	out := &appsv1.Deployment{ObjectMeta: d.meta(namespace)}
	out.Generation, out.Annotations, out.ManagedFields = d.generation, d.annotations, managedFields(d.setBy)
	if d.deleting {
		out.DeletionTimestamp = &metav1.Time{Time: begin}
	}
	out.Spec = appsv1.DeploymentSpec{Replicas: ptr.To(d.replicas), Paused: d.paused,
		Selector: &metav1.LabelSelector{MatchLabels: labelsOf(d.app, d.name, "")},
		Template: d.template.kube(d.app, d.name, "")}
	out.Status.ObservedGeneration = d.observed
	for _, c := range d.conditions {
		out.Status.Conditions = append(out.Status.Conditions, appsv1.DeploymentCondition{
			Type: appsv1.DeploymentConditionType(c.Type), Status: corev1.ConditionStatus(c.Status),
			Reason: c.Reason, Message: c.Message})
	}
	d.memo = out
	return out
}

// seen are the Deployment's facts, without its pods.
func (d *deployment) seen() release.Deployment {
	if d.facts == nil {
		seen := facts.Deployment(d.kube())
		d.facts = &seen
	}
	return *d.facts
}

// forget drops what was made of a version that is not the one that is stored.
func (d *deployment) forget() { d.memo, d.facts = nil, nil }

func (s *replicaSet) kube() *appsv1.ReplicaSet {
	if s.memo == nil {
		s.memo = &appsv1.ReplicaSet{ObjectMeta: s.meta(namespace)}
		s.memo.Generation, s.memo.Labels = s.generation, labelsOf(s.app, s.deployment, s.template.version)
		s.memo.OwnerReferences = ownedBy("Deployment", s.deployment, s.owner)
		if s.deleting {
			s.memo.DeletionTimestamp = &metav1.Time{Time: begin}
		}
		s.memo.Spec = appsv1.ReplicaSetSpec{Replicas: ptr.To(s.replicas),
			Template: s.template.kube(s.app, s.deployment, s.hash())}
		s.memo.Status.ObservedGeneration = s.observed
	}
	return s.memo
}

// hash is what the Deployment controller has put into the name, and into the labels of the pods.
func (s *replicaSet) hash() string { return strings.TrimPrefix(s.name, s.deployment+"-") }

func (p *pod) kube() *corev1.Pod {
	if p.memo == nil {
		p.memo = &corev1.Pod{ObjectMeta: p.meta(namespace)}
		p.memo.Labels = labelsOf(p.app, p.deployment, p.label)
		p.memo.Labels[appsv1.DefaultDeploymentUniqueLabelKey] = strings.TrimPrefix(p.set, p.deployment+"-")
		p.memo.OwnerReferences = ownedBy("ReplicaSet", p.set, p.owner)
		if p.terminating {
			p.memo.DeletionTimestamp = &metav1.Time{Time: begin}
		}
		ready := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: at(p.since)}
		if p.ready {
			ready.Status = corev1.ConditionTrue
		}
		p.memo.Status = corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{ready}}
	}
	return p.memo
}

// known is what is read of the pod.
func (p *pod) known() *observe.Pod {
	if p.read == nil {
		p.read = observe.PodOf(p.kube())
	}
	return p.read
}

func (s *kubeService) kube() *corev1.Service {
	if s.memo == nil {
		s.memo = &corev1.Service{ObjectMeta: s.meta(namespace)}
		s.memo.Spec = corev1.ServiceSpec{Selector: map[string]string{"app": s.app}, Ports: []corev1.ServicePort{
			{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP},
			{Name: "tcp-admin", Port: 9000, Protocol: corev1.ProtocolTCP}}}
	}
	return s.memo
}

// seen are the Service's facts.
func (s *kubeService) seen() release.Service { return facts.Service(s.kube()) }

func (i *identity) meta(namespace string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: i.name, UID: types.UID(uidText(i.uid)),
		ResourceVersion: strconv.FormatInt(i.version, 10), CreationTimestamp: at(i.created)}
}

// at is a virtual time as objects have it, in whole seconds.
func at(t time.Duration) metav1.Time { return metav1.NewTime(begin.Add(t.Truncate(time.Second))) }

func (t template) kube(app, deployment, hash string) corev1.PodTemplateSpec {
	out := corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: app, Image: t.image}}}}
	out.Labels = labelsOf(app, deployment, t.version)
	if hash != "" {
		out.Labels[appsv1.DefaultDeploymentUniqueLabelKey] = hash
	}
	return out
}

// labelsOf are those of a Deployment's pods, without the hash.
func labelsOf(app, deployment, version string) map[string]string {
	out := map[string]string{"app": app, "name": deployment}
	if version != "" {
		out[release.VersionLabel] = version
	}
	return out
}

func ownedBy(kind, name string, uid int64) []metav1.OwnerReference {
	return []metav1.OwnerReference{{Kind: kind, Name: name, UID: types.UID(uidText(uid)), Controller: ptr.To(true)}}
}

// managedFields tell who set each annotation.
func managedFields(setBy map[string]string) []metav1.ManagedFieldsEntry {
	by := map[string][]string{}
	for _, key := range sortedKeys(setBy) {
		by[setBy[key]] = append(by[setBy[key]], fmt.Sprintf("%q:{}", "f:"+key))
	}
	var out []metav1.ManagedFieldsEntry
	for _, manager := range slices.Sorted(maps.Keys(by)) {
		raw := `{"f:metadata":{"f:annotations":{` + strings.Join(by[manager], ",") + `}}}`
		out = append(out, metav1.ManagedFieldsEntry{Manager: manager, FieldsV1: metav1.NewFieldsV1(raw)})
	}
	return out
}

func (d *deployment) candidate() bool {
	is := d.seen()
	return is.IsCandidate()
}

func (d *deployment) held() bool {
	is := d.seen()
	return is.IsHeld()
}

func (d *deployment) beingAdopted() bool {
	is := d.seen()
	return is.IsBeingAdopted()
}

// versionBehind is the version that a Deployment has behind a Service.
func versionBehind(service string, d release.Deployment) string {
	s := release.Service{Namespace: namespace, Name: service, Selector: map[string]string{"app": d.TemplateLabels["app"]}}
	return release.Parse(namespace, d, []release.Service{s}).Label
}

// textOf is all that an object says.
func textOf(o object) string {
	var is any
	switch o := o.(type) {
	case *deployment:
		is = o.kube()
	case *replicaSet:
		is = o.kube()
	case *pod:
		is = o.kube()
	case *kubeService:
		is = o.kube()
	case *virtualService:
		is = o.spec
	case *destinationRule:
		is = o.spec
	}
	text, err := json.Marshal(is)
	if err != nil {
		panic(err) // Kubernetes' types always marshal
	}
	return string(text)
}
