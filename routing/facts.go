package routing

import (
	"time"

	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
	"grayscale.dev/grayscale/routing/settle"
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
	// FirstSeen is when the process that decides first saw the derived objects and the users' DestinationRules as they
	// are.
	settle.FirstSeen
	Service     release.Service      `json:"service"`
	Deployments []release.Deployment `json:"deployments,omitempty"`
	// Seen is how far the watch that brought the Deployments had come, Newest the latest of their own resourceVersions;
	// empty where they are not known.
	Seen   string `json:"seen,omitempty"`
	Newest string `json:"newest,omitempty"`
	// Mesh is what there is of the mesh about the Service; nil where that is not known.
	Mesh mesh.Objects `json:"-"`
	// Leaving names the Deployments that the API server is asked to delete or to scale to zero, and waits with until their
	// traffic has gone.
	Leaving []string `json:"leaving,omitempty"`
	// Strays are pods behind the Service, by version label, that belong to none of Deployments: those of a deleted one end
	// so.
	Strays []release.Pods `json:"strays,omitempty"`
	// Workloads have pods behind the Service too, and are no Deployments: StatefulSets, Jobs and other owners of pods, and
	// pods without one; once for each version label.
	Workloads []Workload `json:"workloads,omitempty"`
	// Services are the other Services of the namespace that select pods of Deployments, or that these name.
	Services []release.Service `json:"services,omitempty"`
	// Beside are the facts about those of Services that select pods of one of Deployments that carries anything of ours,
	// or that it names: what becomes of it there. They have none of their own.
	Beside []Facts `json:"beside,omitempty"`
}

// Workload is an owner of pods that is no Deployment, or a pod that has none.
type Workload struct {
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	Version string `json:"version,omitempty"` // the pods' version label
}

// Tells reports whether it is the decision about this Service that says what has become of the Deployment's
// annotations. Of several Services that it is behind, one does.
func (f Facts) Tells(d release.Deployment) bool {
	return release.Parse(f.Service.Namespace, d, f.knownServices()).Placed.Author == f.Service.Name
}
