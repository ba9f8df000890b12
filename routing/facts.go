package routing

import (
	"time"

	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
	"grayscale.dev/grayscale/routing/settle"
)

// Settings are what an administrator may choose.
type Settings struct {
	// Settle is how long a write gets to reach every Envoy before the next write may depend on it. It must be longer
	// than istiod's debounce (PILOT_DEBOUNCE_AFTER, PILOT_DEBOUNCE_MAX).
	Settle time.Duration `json:"settle"` // nanoseconds in JSON
	// ClusterDomain is the DNS suffix of Services, cluster.local by default.
	ClusterDomain string `json:"clusterDomain,omitempty"`
	// RootNamespace is Istio's root namespace, istio-system by default.
	RootNamespace string `json:"rootNamespace,omitempty"`
}

// Facts are everything that is known about one Service at one instant. They are plain data, so tests can write them in
// YAML.
type Facts struct {
	Now time.Time `json:"now"`
	// FirstSeen is when the deciding process first saw the derived objects, and the DestinationRules of users, as they
	// are now.
	settle.FirstSeen
	Service     release.Service      `json:"service"`
	Deployments []release.Deployment `json:"deployments,omitempty"`
	// Seen is how far the watch of the Deployments has come. Newest is the latest of their own resourceVersions. Each
	// is empty if it is not known.
	Seen   string `json:"seen,omitempty"`
	Newest string `json:"newest,omitempty"`
	// Mesh holds the mesh's objects about the Service; nil if they are not known.
	Mesh mesh.Objects `json:"-"`
	// Leaving names the Deployments that the API server asks to delete or to scale to zero. It waits for the answer
	// until their traffic has gone.
	Leaving []string `json:"leaving,omitempty"`
	// Strays are pods behind the Service, by version label, that belong to none of Deployments: the last pods of a
	// deleted one.
	Strays []release.Pods `json:"strays,omitempty"`
	// Workloads are the other owners of pods behind the Service, such as StatefulSets and Jobs, and pods without an
	// owner. Each is listed once per version label.
	Workloads []Workload `json:"workloads,omitempty"`
	// Services are the other Services of the namespace that select pods of Deployments, or that Deployments name.
	Services []release.Service `json:"services,omitempty"`
	// Beside are the facts about other Services that a Deployment with our annotations is behind, because they select
	// its pods or it names them. They say what happens to it there. They have no Beside of their own.
	Beside []Facts `json:"beside,omitempty"`
}

// Workload is an owner of pods that is not a Deployment, or a pod without an owner.
type Workload struct {
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	Version string `json:"version,omitempty"` // the pods' version label
}

// Tells reports whether the decision about this Service writes the Deployment's conditions. Of several Services that
// the Deployment is behind, exactly one does.
func (f Facts) Tells(d release.Deployment) bool {
	return release.Parse(f.Service.Namespace, d, f.knownServices()).Placed.Author == f.Service.Name
}
