// Package release decides, for one Service, which Deployments are stable, which are candidates, and which share of the
// traffic each gets. It is pure: it calls no API server, reads no clock, and knows no mesh's objects.
package release

import (
	"slices"
	"time"

	"grayscale.dev/grayscale/routing/intent"
)

// VersionLabel is the pod label whose value is a version. The key is Istio's convention
// (https://istio.io/latest/docs/ops/deployment/application-requirements/).
const VersionLabel = "version"

// Port is one port of a Service, as far as routes depend on it.
type Port struct {
	Name        string `json:"name,omitempty"`
	Number      int32  `json:"number"`
	Protocol    string `json:"protocol,omitempty"`    // TCP (default), UDP or SCTP
	AppProtocol string `json:"appProtocol,omitempty"` // as in ServicePort.appProtocol
}

// Service is the Service of a release, reduced to what routes depend on.
type Service struct {
	Namespace string            `json:"namespace"`
	Name      string            `json:"name"`
	UID       string            `json:"uid,omitempty"`
	Selector  map[string]string `json:"selector,omitempty"`
	Ports     []Port            `json:"ports,omitempty"`
	// ExportTo are the namespaces whose clients can see the Service in Istio, from its annotation ("." is its own
	// namespace). Empty means all of them; "~" alone means none.
	ExportTo []string `json:"exportTo,omitempty"`
	// Headless and ExternalName Services have no cluster IP that routes could apply to.
	Headless     bool `json:"headless,omitempty"`
	ExternalName bool `json:"externalName,omitempty"`
	// Deleting is true once the Service has a deletionTimestamp.
	Deleting bool `json:"deleting,omitempty"`
	// Missing is true if Deployments name a Service that does not exist; only Namespace and Name are set then.
	Missing bool `json:"missing,omitempty"`
}

// Pods counts the pods of one Deployment that carry one value of the version label.
type Pods struct {
	// Version is the label's value; empty for pods without the label.
	Version string `json:"version,omitempty"`
	// Ready counts the pods that serve: their condition Ready is True and they are not terminating.
	Ready int `json:"ready,omitempty"`
	// Since is when the pod that has been ready longest became ready; Envoy learns of the first endpoint only after
	// that. Zero means long ago.
	Since time.Time `json:"since,omitzero"`
	// Total counts every pod that exists, terminating ones included.
	Total int `json:"total,omitempty"`
}

// Deployment is one Deployment behind a Service, reduced to what a release depends on.
type Deployment struct {
	Name      string    `json:"name"`
	UID       string    `json:"uid,omitempty"`
	CreatedAt time.Time `json:"createdAt,omitzero"`
	// Annotations are only those with our prefix.
	Annotations map[string]string `json:"annotations,omitempty"`
	// SetBy is the field manager that last wrote each of these annotations, for Events.
	SetBy map[string]string `json:"setBy,omitempty"`
	// TemplateLabels are the labels of the pod template; Selector is spec.selector.matchLabels.
	TemplateLabels map[string]string `json:"templateLabels,omitempty"`
	Selector       map[string]string `json:"selector,omitempty"`
	// Replicas is spec.replicas, or 1 if that is absent.
	Replicas int32 `json:"replicas"`
	// SpecPaused is spec.paused: the Deployment controller starts no rollout.
	SpecPaused bool `json:"specPaused,omitempty"`
	// Deleting is true once there is a deletionTimestamp.
	Deleting bool `json:"deleting,omitempty"`
	// LeavingSince is when its deletion or its scaling to zero was announced, as long as neither has happened; else
	// zero.
	LeavingSince time.Time `json:"leavingSince,omitzero"`
	// DeadlineExceeded: the condition Progressing is False with reason ProgressDeadlineExceeded.
	DeadlineExceeded bool `json:"deadlineExceeded,omitempty"`
	// ReplicaFailure is the message of the condition ReplicaFailure, without the name of the refused pod, because
	// Kubernetes retries under other names. It is empty if pods can be created.
	ReplicaFailure string `json:"replicaFailure,omitempty"`
	// Pods are its pods by version label, sorted by Version.
	Pods []Pods `json:"pods,omitempty"`
	// Conditions are our conditions (intent.ConditionAccepted, intent.ConditionProgrammed) in its current status.
	Conditions []Condition `json:"conditions,omitempty"`
}

// Condition is one of our conditions on a Deployment, without times: the annotator adds those.
type Condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"` // True, False or Unknown
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// Adopting is the value of the annotation grayscale.dev/held while running pods get the version label. The Deployment
// is paused until that is done.
const Adopting = "adopt"

// HasStrategy reports whether the Deployment has the strategy annotation, with any value.
func (d *Deployment) HasStrategy() bool {
	_, ok := d.Annotations[intent.KeyStrategy]
	return ok
}

// IsCandidate reports whether the Deployment has the strategy annotation, with any value, and is not marked as having
// become stable with it.
func (d *Deployment) IsCandidate() bool {
	_, promoted := d.Annotations[intent.KeyPromoted]
	return d.HasStrategy() && !promoted
}

// IsHeld reports whether the webhook keeps the Deployment at zero pods.
func (d *Deployment) IsHeld() bool {
	value, held := d.Annotations[intent.KeyHeld]
	return held && value != Adopting && d.SpecPaused
}

// IsBeingAdopted reports whether an adoption of the Deployment has begun and not ended.
func (d *Deployment) IsBeingAdopted() bool { return d.Annotations[intent.KeyHeld] == Adopting }

// IsPlain reports whether the Deployment has no strategy, is not being deleted, and has pods or will have some.
func (d *Deployment) IsPlain() bool { return !d.HasStrategy() && d.live() }

// IsLeaving reports whether the Deployment's pods are about to go, so its traffic has to go first.
func (d *Deployment) IsLeaving() bool {
	return d.Deleting || d.Replicas == 0 || !d.LeavingSince.IsZero()
}

// live: the Deployment exists and is not being deleted.
func (d *Deployment) live() bool { return !d.Deleting && d.exists() }

// exists: the Deployment has pods, or replicas are wanted.
func (d *Deployment) exists() bool { return d.Replicas > 0 || d.TotalPods() > 0 }

// Present reports whether the Deployment has pods, or will get some.
func (d *Deployment) Present() bool { return d.Replicas > 0 && !d.Deleting || d.TotalPods() > 0 }

// Ready counts the pods that serve as the version.
func (d *Deployment) Ready(version string) int {
	for _, p := range d.Pods {
		if p.Version == version {
			return p.Ready
		}
	}
	return 0
}

// AnyReady reports whether any pod serves, as any version.
func (d *Deployment) AnyReady() bool {
	return slices.ContainsFunc(d.Pods, func(p Pods) bool { return p.Ready > 0 })
}

// TotalPods counts all pods of the Deployment, terminating ones included.
func (d *Deployment) TotalPods() int {
	n := 0
	for _, p := range d.Pods {
		n += p.Total
	}
	return n
}

// Selects reports whether the Service's selector matches the pods of the Deployment's template. A Service without a
// selector has no pods of its own.
func (s Service) Selects(d *Deployment) bool {
	return len(s.Selector) > 0 && matches(s.Selector, d.TemplateLabels)
}

func matches(selector, labels map[string]string) bool {
	for k, v := range selector {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}
