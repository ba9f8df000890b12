package routing

import (
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
)

// Settings are what an administrator may choose.
type Settings struct {
	// Settle is how long a write is given to reach every Envoy before the next write may depend on it. It must
	// outlast istiod's debounce (PILOT_DEBOUNCE_AFTER, PILOT_DEBOUNCE_MAX).
	Settle time.Duration `json:"settle"` // nanoseconds in JSON
	// ClusterDomain is the DNS suffix of Services, cluster.local by default.
	ClusterDomain string `json:"clusterDomain,omitempty"`
	// RootNamespace is Istio's root namespace, istio-system by default.
	RootNamespace string `json:"rootNamespace,omitempty"`
}

// Facts are everything known about one Service at one instant. They are plain data: a test writes them in YAML.
type Facts struct {
	Now time.Time `json:"now"`
	// RoutesSince and RuleSince are when the process that decides first saw the VirtualService and the DestinationRule as they
	// are now, but for what it wrote itself without delay: the times in them may have been told by another clock, or long
	// before they were written. They lie ahead where the mesh may learn of it later than that process did. Zero means long ago.
	RoutesSince time.Time `json:"routesSince,omitzero"`
	RuleSince   time.Time `json:"ruleSince,omitzero"`
	// OtherRulesSince is when that process first saw OtherDestinationRules as they are now; zero means long ago.
	OtherRulesSince time.Time            `json:"otherRulesSince,omitzero"`
	Service         release.Service      `json:"service"`
	Deployments     []release.Deployment `json:"deployments,omitempty"`
	// Seen is how far the watch that brought the Deployments had come, Newest the latest of their own resourceVersions;
	// empty where they are not known.
	Seen   string `json:"seen,omitempty"`
	Newest string `json:"newest,omitempty"`
	// VirtualService and DestinationRule are ours as they are in the cluster; nil where they do not exist.
	VirtualService  *networkingv1.VirtualService  `json:"virtualService,omitempty"`
	DestinationRule *networkingv1.DestinationRule `json:"destinationRule,omitempty"`
	// OtherVirtualServices and OtherDestinationRules name the Service's host too (or a wildcard over it) and are not ours.
	OtherVirtualServices  []*networkingv1.VirtualService  `json:"otherVirtualServices,omitempty"`
	OtherDestinationRules []*networkingv1.DestinationRule `json:"otherDestinationRules,omitempty"`
	// ComingDestinationRules are OtherDestinationRules as they will be once the API server has done what it asks about, and
	// waits with; nil where it asks about none.
	ComingDestinationRules []*networkingv1.DestinationRule `json:"comingDestinationRules,omitempty"`
	// MeshRoutes are the routes of the Gateway API with the Service as a parent.
	MeshRoutes []istio.MeshRoute `json:"meshRoutes,omitempty"`
	// Leaving names the Deployments that the API server is asked to delete or to scale to zero, and waits with until their
	// traffic has gone.
	Leaving []string `json:"leaving,omitempty"`
	// Strays are pods behind the Service, by version label, that belong to none of Deployments: those of a deleted one end so.
	Strays []release.Pods `json:"strays,omitempty"`
	// Workloads have pods behind the Service too, and are no Deployments: StatefulSets, Jobs and other owners of pods, and pods
	// without one; once for each version label.
	Workloads []Workload `json:"workloads,omitempty"`
	// Services are the other Services of the namespace that select pods of Deployments, or that these name.
	Services []release.Service `json:"services,omitempty"`
	// Beside are the facts about those of Services that select pods of one of Deployments that carries anything of ours, or that
	// it names: what becomes of it there. They have none of their own.
	Beside []Facts `json:"beside,omitempty"`
	// IstioMissing is true while the API server does not serve networking.istio.io/v1.
	IstioMissing bool `json:"istioMissing,omitempty"`
}

// Workload is an owner of pods that is no Deployment, or a pod that has none.
type Workload struct {
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	Version string `json:"version,omitempty"` // the pods' version label
}

// Tells reports whether it is the decision about this Service that says what has become of the Deployment's annotations. Of several
// Services that it is behind, one does.
func (f Facts) Tells(x release.Deployment) bool {
	f.Deployments = []release.Deployment{x}
	return f.placed()[0].Placed.Author == f.Service.Name
}

// Derived names some of the objects that a decision rests on: the two derived ones, and the users' DestinationRules.
type Derived struct {
	VirtualService  bool `json:"virtualService,omitempty"`
	DestinationRule bool `json:"destinationRule,omitempty"`
	// OtherRules are those of Facts.OtherDestinationRules in the namespaces of the Service, of the bypasses, and in the root.
	OtherRules bool `json:"otherRules,omitempty"`
	// Beside are those of Facts.Beside, by their Services' names, whose VirtualServices are meant as well.
	Beside []string `json:"beside,omitempty"`
}

// IsZero reports whether it names none.
func (d Derived) IsZero() bool {
	return !d.VirtualService && !d.DestinationRule && !d.OtherRules && len(d.Beside) == 0
}

// Decision is what to do now, acted on in the order of Steps; an error stops it before the next one.
// Doing it twice is doing it once. Objects in it carry the resourceVersion they were decided from, so that a
// decision made from a stale cache is refused by the API server; an object without one is to be created.
type Decision struct {
	// Label adopts or repairs: each Deployment's pods, ReplicaSets and template get the version label without a restart.
	Label []release.Member `json:"label,omitempty"`
	// Confirm names the objects to read past the caches before anything is written: they have to be those of Facts.
	Confirm Derived `json:"confirm,omitzero"`
	// Apply* are the derived objects to write; nil means that they are right as they are.
	ApplyDestinationRule *networkingv1.DestinationRule `json:"applyDestinationRule,omitempty"`
	ApplyVirtualService  *networkingv1.VirtualService  `json:"applyVirtualService,omitempty"`
	// Delete* remove the derived objects (with the resourceVersion of Facts as a precondition).
	DeleteVirtualService  bool `json:"deleteVirtualService,omitempty"`
	DeleteDestinationRule bool `json:"deleteDestinationRule,omitempty"`
	// Lift names the Deployments whose hold ends: spec.paused and the annotation grayscale.dev/held are removed.
	Lift []string `json:"lift,omitempty"`
	// Annotate sets (or, where the value is nil, removes) annotations of ours on Deployments.
	Annotate []Annotation `json:"annotate,omitempty"`
	// Status lists the Deployments whose conditions of ours have to change, each with all that it shall have then.
	Status []Status `json:"status,omitempty"`
	// Problems are what is wrong now, per Deployment, for metrics; Decision repeats them until they are mended.
	Problems map[string][]intent.Problem `json:"problems,omitempty"`
	// Events are published on the Deployment after everything else has been done.
	Events []Event `json:"events,omitempty"`
	// After is when to decide again even if nothing changes; zero means only when something changes.
	After time.Duration `json:"after,omitempty"`
}

// Annotation is one annotation to set on a Deployment, or to remove where Value is nil.
type Annotation struct {
	Deployment string  `json:"deployment"`
	Key        string  `json:"key"`
	Value      *string `json:"value"`
}

// Status lists the conditions of ours on one Deployment.
type Status struct {
	Deployment string              `json:"deployment"`
	Conditions []release.Condition `json:"conditions,omitempty"`
	Problems   []intent.Problem    `json:"problems,omitempty"`
}

// Event is one Kubernetes Event about a Deployment.
type Event struct {
	Deployment string `json:"deployment"`
	Type       string `json:"type"` // Normal or Warning
	Reason     string `json:"reason"`
	Message    string `json:"message"`
}
