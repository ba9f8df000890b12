package release

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Clients are workloads in the mesh that send requests to a Service.
type Clients struct {
	// Namespace is where they run; empty means every namespace.
	Namespace string `json:"namespace,omitempty"`
	// Labels are the labels that all their pods have; empty means every pod.
	Labels map[string]string `json:"labels,omitempty"`
}

// Key identifies the clients, and gives their order.
func (c Clients) Key() string {
	var out strings.Builder
	out.WriteString(c.Namespace)
	for _, k := range slices.Sorted(maps.Keys(c.Labels)) {
		out.WriteString(" " + k + "=" + c.Labels[k])
	}
	return out.String()
}

// Everybody reports whether these are all clients.
func (c Clients) Everybody() bool { return c.Namespace == "" && len(c.Labels) == 0 }

// Bypass leads clients past the subsets, to the whole Service, because their proxies lack the subsets or may lack them
// soon. These clients lose the split, but no request.
type Bypass struct {
	Clients
	// Since is when the routes began to do so.
	Since time.Time `json:"since,omitzero"`
	// Announced is when the API server last asked about a rule that would hide the subsets from them, while that rule
	// has not been seen yet; zero if none is expected.
	Announced time.Time `json:"announced,omitzero"`
	// Gone is when the last rule that hid the subsets from them went; zero while there is one.
	Gone time.Time `json:"gone,omitzero"`
}
