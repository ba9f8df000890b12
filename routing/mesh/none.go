package mesh

import (
	"k8s.io/apimachinery/pkg/runtime/schema"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// None is the Backend when no mesh is known: it has no objects and writes none.
type None struct{}

var _ Backend = None{}

// InstallProblems say that no mesh is known.
func (None) InstallProblems() []intent.Problem {
	return []intent.Problem{{Kind: intent.Pending, Reason: ReasonNotInstalled, Message: "no mesh is known in the cluster",
		Fix: "install Istio's custom resource definitions; routes follow by themselves"}}
}

// Kinds are none.
func (None) Kinds() (routes, subsets schema.GroupVersionKind) { return routes, subsets }

// Routes are none.
func (None) Routes() (Routes, bool) { return Routes{}, false }

// Subsets are none.
func (None) Subsets() (Subsets, bool) { return Subsets{}, false }

// RenderRoutes writes nothing.
func (None) RenderRoutes([]Rule, release.State) Write { return Write{Same: true} }

// RenderSubsets writes nothing.
func (None) RenderSubsets(release.Subsets) Write { return Write{Same: true} }

// ReadTraffic reads nothing.
func (None) ReadTraffic(Object) (release.Traffic, bool) { return release.Traffic{}, false }

// Blind is nobody.
func (None) Blind([]string) []Blind { return nil }

// ComingBlind is nobody.
func (None) ComingBlind([]string) []Blind { return nil }

// PortProblems are none.
func (None) PortProblems(bool) []intent.Problem { return nil }

// HostProblems are none.
func (None) HostProblems() []intent.Problem { return nil }

// SubsetProblems are none.
func (None) SubsetProblems(_, _ string) []intent.Problem { return nil }

// Routable is false.
func (None) Routable() bool { return false }
