package release

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Clients are workloads in the mesh that send requests to a Service.
type Clients struct {
	// Namespace is theirs; empty means every namespace.
	Namespace string `json:"namespace,omitempty"`
	// Labels are those that their pods all carry; empty means every pod.
	Labels map[string]string `json:"labels,omitempty"`
}

// Key tells clients apart, and sorts them.
func (c Clients) Key() string {
	var out strings.Builder
	out.WriteString(c.Namespace)
	for _, k := range slices.Sorted(maps.Keys(c.Labels)) {
		out.WriteString(" " + k + "=" + c.Labels[k])
	}
	return out.String()
}

// Everybody reports whether these are all clients that there are.
func (c Clients) Everybody() bool { return c.Namespace == "" && len(c.Labels) == 0 }

// Bypass leads clients past the subsets, to the whole Service: their proxies lack these, or may soon. They lose the
// split, and no request.
type Bypass struct {
	Clients
	// Since is when the routes began to lead these clients so.
	Since time.Time `json:"since,omitzero"`
	// Announced is when the API server last asked about a rule that would take the subsets from them, and that has not
	// been seen yet; zero where none is awaited.
	Announced time.Time `json:"announced,omitzero"`
	// Gone is since when no rule takes the subsets from them any more; zero while one does.
	Gone time.Time `json:"gone,omitzero"`
}
