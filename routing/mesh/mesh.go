// Package mesh describes what a release needs from a service mesh, independent of any one mesh. A Backend writes it as
// objects of one mesh and reads it back. The package is pure.
package mesh

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// Object is one object of the API server. Only the backend knows its spec.
type Object interface {
	metav1.Object
	runtime.Object
}

// Rule says where the requests and connections that it matches go. The first of several rules that matches counts.
type Rule struct {
	// Match says what the rule applies to.
	Match Match
	// Weights are the versions' shares; they add up to intent.Hundred. If there are none, everything goes to the whole
	// Service.
	Weights []release.Weight
	// Mirrors are the versions that get copies of requests, and of which share of them.
	Mirrors []release.Weight
}

// Match selects requests and connections; the zero Match selects all of them.
type Match struct {
	// From are the clients that send them; empty means all clients.
	From []release.Clients
}

// Rules lead the clients of the bypasses to the whole Service, and split the traffic of all others.
func Rules(t release.Traffic, bypasses []release.Bypass) []Rule {
	split := Rule{Weights: t.Weights, Mirrors: t.Mirrors}
	if len(bypasses) == 0 {
		return []Rule{split}
	}
	var past Rule
	for _, b := range bypasses {
		past.Match.From = append(past.Match.From, b.Clients)
	}
	return []Rule{past, split}
}

// Config is what an administrator has configured about a mesh.
type Config struct {
	// ClusterDomain is the DNS suffix of Services, such as cluster.local.
	ClusterDomain string
	// RootNamespace is the namespace with the configuration for the whole mesh, such as istio-system.
	RootNamespace string
}

// Objects are the objects of a mesh about one Service, as they are in the cluster.
type Objects interface {
	// For returns the Backend that they make for the Service.
	For(s release.Service, c Config) Backend
}

// Backend is one mesh as it is configured for one Service. It knows our objects and those of others, and how to write
// ours. It is a value: it changes nothing, and reads its objects at each call.
type Backend interface {
	// Kinds are the kinds of the two derived objects: the one with the routes, and the one with the subsets.
	Kinds() (routes, subsets schema.GroupVersionKind)
	// Routes are our routes in the cluster, edited by others or not; false if there are none that grayscale wrote.
	Routes() (Routes, bool)
	// Subsets are our subsets in the cluster, edited by others or not; false if there are none that grayscale wrote.
	Subsets() (Subsets, bool)
	// RenderRoutes returns the object with these rules, which records the state.
	RenderRoutes(rules []Rule, st release.State) Write
	// RenderSubsets returns the object with a subset for each version in sub.Added, which records sub.
	RenderSubsets(sub release.Subsets) Write
	// ReadTraffic returns the split that the routes in an object ask for. It is false if the split is not the same for
	// all ports, which only happens if somebody edited the object. Rules without weights are left out.
	ReadTraffic(o Object) (release.Traffic, bool)

	// Blind are the clients whose proxies lack a subset of one of the versions because of objects of others, or because
	// ours was edited.
	Blind(versions []string) []Blind
	// ComingBlind are the clients that will lack one once the API server has made the change that it asks about; nil if
	// it asks about none.
	ComingBlind(versions []string) []Blind

	// InstallProblems say what the cluster lacks; without it, no object of ours can exist.
	InstallProblems() []intent.Problem
	// PortProblems say why no release is possible behind the Service; copies is true if its requests are to be copied.
	PortProblems(copies bool) []intent.Problem
	// HostProblems name the routes of others that clients follow instead of ours.
	HostProblems() []intent.Problem
	// SubsetProblems name the objects of others that keep our subsets from some clients, or whose settings our subsets
	// would take away. version is a candidate's, stable is stable's; each is empty if there is none.
	SubsetProblems(version, stable string) []intent.Problem
	// Routable reports whether the mesh chooses pods for clients of the Service at all.
	Routable() bool
}

// Routes are what our routes in the cluster say.
type Routes struct {
	// Object holds them. It belongs to the cache and must not be changed.
	Object Object
	// State is the state that it records. Damaged reports that this cannot be read; State is zero then.
	State   release.State
	Damaged bool
	refers  func(version string) bool
}

// NewRoutes reads the state in the object. refers reports whether its routes lead to a version.
func NewRoutes(o Object, refers func(version string) bool) Routes {
	st, ok := ReadState(o)
	return Routes{Object: o, State: st, Damaged: !ok, refers: refers}
}

// Refers reports whether the routes send requests, connections or copies to the version's subset. It reads the routes
// themselves, not the state, because somebody may have edited them.
func (r Routes) Refers(version string) bool { return r.refers != nil && r.refers(version) }

// Subsets are what the object with our subsets says.
type Subsets struct {
	// Object holds them. It belongs to the cache and must not be changed.
	Object Object
	// State is the state that it records. Damaged reports that this cannot be read; State then lists the object's own
	// subsets, without times.
	State   release.Subsets
	Damaged bool
	// Versions are those whose subset really exists and selects what it should.
	Versions []string
}

// Has reports whether the version's subset really exists, whatever the state says.
func (s Subsets) Has(version string) bool { return slices.Contains(s.Versions, version) }

// Write is a derived object as it should be, and what the write relies on.
type Write struct {
	// Object is complete. It has the resourceVersion of the object in the cluster, so the API server refuses a write
	// that was decided from an older one. An object without a resourceVersion is to be created.
	Object Object
	// Same reports that the cluster already has it so. Then nothing is to be written, and all fields below are false.
	Same bool
	// RestsOnDerived reports that the write is right only if the other derived object is still as it was read. Either
	// routes begin to refer to a subset; or a subset that routes could refer to goes, or may not exist.
	RestsOnDerived bool
	// RestsOnOthers reports that the write is right only if the objects of others are still as they were read.
	RestsOnOthers bool
	// Upgrades reports that the object in the cluster says the same in the form of an earlier grayscale: nobody edited
	// it.
	Upgrades bool
}

// Blind are clients whose proxies lack subsets that the routes name.
type Blind struct {
	release.Clients
	// Objects are the objects of others that hide our subsets from them, as namespace/name; empty if ours was edited.
	Objects []string
	// Problem describes it for the owner of a release.
	Problem intent.Problem
}
