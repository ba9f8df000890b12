// Package release decides, for one Service, who is stable, who gets what share of its traffic and which step
// towards that is safe now. It is pure: it knows neither clients nor clocks nor Istio's objects.
package release

import (
	"slices"
	"time"

	"grayscale.dev/grayscale/routing/intent"
)

// VersionLabel is the pod label whose value is a version, Istio's own convention
// (https://istio.io/latest/docs/ops/deployment/application-requirements/).
const VersionLabel = "version"

// Port is one port of a Service, as far as routes depend on it.
type Port struct {
	Name        string `json:"name,omitempty"`
	Number      int32  `json:"number"`
	Protocol    string `json:"protocol,omitempty"`    // TCP (default), UDP or SCTP
	AppProtocol string `json:"appProtocol,omitempty"` // as in ServicePort.appProtocol
}

// Service is the Service that a release stands behind, trimmed to what routes depend on.
type Service struct {
	Namespace string            `json:"namespace"`
	Name      string            `json:"name"`
	UID       string            `json:"uid,omitempty"`
	Selector  map[string]string `json:"selector,omitempty"`
	Ports     []Port            `json:"ports,omitempty"`
	// ExportTo are the namespaces to whose clients Istio shows the Service ("." is its own), as its annotation says: empty for
	// all, "~" alone for none.
	ExportTo []string `json:"exportTo,omitempty"`
	// Headless, ExternalName: such Services have no cluster IP that routes apply to.
	Headless     bool `json:"headless,omitempty"`
	ExternalName bool `json:"externalName,omitempty"`
	// Deleting is true from the Service's deletionTimestamp on.
	Deleting bool `json:"deleting,omitempty"`
	// Missing is true where Deployments name a Service that does not exist; only Namespace and Name are set then.
	Missing bool `json:"missing,omitempty"`
}

// Pods counts the pods of one Deployment that carry one value of the version label.
type Pods struct {
	// Version is the label's value; empty for pods without the label.
	Version string `json:"version,omitempty"`
	// Ready pods serve: condition Ready is true and they are not terminating.
	Ready int `json:"ready,omitempty"`
	// Since is when the one that has been ready longest became so; Envoy learns of the first endpoint only after that.
	// Zero means long ago.
	Since time.Time `json:"since,omitzero"`
	// Total counts every pod that exists, terminating ones included.
	Total int `json:"total,omitempty"`
}

// Deployment is one Deployment behind a Service, trimmed to what a release depends on.
type Deployment struct {
	Name      string    `json:"name"`
	UID       string    `json:"uid,omitempty"`
	CreatedAt time.Time `json:"createdAt,omitzero"`
	// Annotations are those with our prefix, no others.
	Annotations map[string]string `json:"annotations,omitempty"`
	// SetBy is the field manager that last wrote each of those annotations, for Events.
	SetBy map[string]string `json:"setBy,omitempty"`
	// TemplateLabels are the labels of the pod template; Selector is spec.selector.matchLabels.
	TemplateLabels map[string]string `json:"templateLabels,omitempty"`
	Selector       map[string]string `json:"selector,omitempty"`
	// Replicas is spec.replicas, 1 where it is absent.
	Replicas int32 `json:"replicas"`
	// SpecPaused is spec.paused: the Deployment controller starts no rollout.
	SpecPaused bool `json:"specPaused,omitempty"`
	// Deleting is true from the deletionTimestamp on.
	Deleting bool `json:"deleting,omitempty"`
	// LeavingSince is when its deletion or its scaling to zero was announced, while neither has happened yet; zero where
	// neither was.
	LeavingSince time.Time `json:"leavingSince,omitzero"`
	// DeadlineExceeded is the Deployment's condition Progressing=False with reason ProgressDeadlineExceeded.
	DeadlineExceeded bool `json:"deadlineExceeded,omitempty"`
	// ReplicaFailure is the message of the Deployment's condition ReplicaFailure, without the name of the pod that was refused:
	// Kubernetes tries again with another name. Empty where pods can be created.
	ReplicaFailure string `json:"replicaFailure,omitempty"`
	// Pods are its pods by version label, sorted by Version.
	Pods []Pods `json:"pods,omitempty"`
	// Conditions are those of ours (intent.ConditionAccepted, intent.ConditionProgrammed) as they stand in its status.
	Conditions []Condition `json:"conditions,omitempty"`
	// Placed is where it belongs, once that has been told by Place; it is no fact.
	Placed Placed `json:"-"`
}

// Condition is one condition of ours on a Deployment, without times: act adds them.
type Condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"` // True, False or Unknown
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// Ready is the number of pods that serve as the version.
func (d Deployment) Ready(version string) int {
	for _, p := range d.Pods {
		if p.Version == version {
			return p.Ready
		}
	}
	return 0
}

// Weight is a version's share of the Service's requests (HTTP) or connections (TCP).
type Weight struct {
	Version string         `json:"version"`
	Share   intent.Percent `json:"share"`
}

// Traffic is what Envoy is asked to do with a Service's traffic. Weights add up to intent.Hundred, hold no zero
// and are sorted by Version; Mirrors are shares of requests to copy, none of them zero, sorted likewise.
type Traffic struct {
	Weights []Weight `json:"weights"`
	Mirrors []Weight `json:"mirrors,omitempty"`
}

// Versions are the versions that the traffic refers to, sorted and without repetition.
func (t Traffic) Versions() []string { return sortedVersions(t) }

// Member is a Deployment with the version it had a role under.
type Member struct {
	Deployment string `json:"deployment"`
	Version    string `json:"version"`
}

// Holder is a version beside stable with the last good intent of its Deployment: what its routes stay at while it
// is paused or its annotations are wrong. A zero Intent means that it has left the release (aborted, or stable until
// another version was promoted): routes stay pinned until it is gone.
type Holder struct {
	Member
	Intent intent.Intent `json:"intent"`
	// Beside is true where it is, or was when it left, a candidate of other Services, to which nothing was due here.
	Beside bool `json:"beside,omitempty"`
}

// State is what a release must remember. It lives in the annotation grayscale.dev/state of the derived
// VirtualService, next to the weights that it explains, so that both change in one atomic write.
type State struct {
	Stable     Member   `json:"stable"`
	Candidates []Holder `json:"candidates,omitempty"`
	// Also names the other Deployments of Stable's version that are stable together with it.
	Also []string `json:"also,omitempty"`
	// PinnedAt is when the VirtualService was first written.
	PinnedAt time.Time `json:"pinnedAt,omitzero"`
	// Traffic is what was last written: where the VirtualService says something else, somebody edited it.
	Traffic Traffic `json:"traffic"`
	// Left holds, per version that routes stopped referring to, when that was: its subset may go once that has settled.
	Left map[string]time.Time `json:"left,omitempty"`
	// Newest is the latest resourceVersion of the Deployments that the traffic was decided from. Whoever has not seen as
	// much yet, be it a replica that has just begun to lead, would go back to older annotations.
	Newest string `json:"newest,omitempty"`
	// Bypasses are the clients whom the routes lead past the subsets, sorted.
	Bypasses []Bypass `json:"bypasses,omitempty"`
	// Leaving holds, per Deployment whose deletion or scaling to zero was announced and has not happened yet, when that was.
	Leaving map[string]time.Time `json:"leaving,omitempty"`
}

// Stables are all that are stable, the one that comes first in front; none where nobody is.
func (st State) Stables() []Member { return stables(st.Stable, st.Also) }

// IsStable reports whether the Deployment is one of them.
func (st State) IsStable(deployment string) bool { return isStable(st.Stables(), deployment) }

func isStable(stables []Member, deployment string) bool {
	return slices.ContainsFunc(stables, func(m Member) bool { return m.Deployment == deployment })
}

func stables(first Member, also []string) []Member {
	if first.Deployment == "" {
		return nil
	}
	out := []Member{first}
	for _, name := range also {
		out = append(out, Member{name, first.Version})
	}
	return out
}

// Subsets is what the derived DestinationRule holds: each version, and when its subset was added.
// It lives in the annotation grayscale.dev/state of the DestinationRule.
type Subsets struct {
	Added map[string]time.Time `json:"added"`
	// Going holds, per version whose subset is about to go, when it was marked so. Routes begin to refer to such a subset only
	// once the mark is off again: who removes the subset long after the mark is not overtaken by who read the rule before it.
	Going map[string]time.Time `json:"going,omitempty"`
}
