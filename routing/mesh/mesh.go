// Package mesh says what a release wants of a service mesh, in no mesh's own words. A Backend writes it in one mesh's
// objects and reads it back. The package is pure.
package mesh

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// Object is one object of the API server. Only the backend knows what its spec says.
type Object interface {
	metav1.Object
	runtime.Object
}

// Rule says where the requests and connections that it matches go. Of several rules the first that matches counts.
type Rule struct {
	// Match says what the rule is for.
	Match Match
	// Weights are the versions' shares; they add up to intent.Hundred. Without any, all goes to the whole Service.
	Weights []release.Weight
	// Mirrors are the shares of requests of which each version gets a copy.
	Mirrors []release.Weight
}

// Match selects requests and connections; the zero Match selects all of them.
type Match struct {
	// From are the clients that send them; none means all clients.
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

// Config is what an administrator has told of a mesh.
type Config struct {
	// ClusterDomain is the DNS suffix of Services, such as cluster.local.
	ClusterDomain string
	// RootNamespace is that of the configuration for the whole mesh, such as istio-system.
	RootNamespace string
}

// Objects are the objects of a mesh about one Service, as they are in the cluster.
type Objects interface {
	// For is the mesh that they make for the Service.
	For(s release.Service, c Config) Backend
}

// Backend is one mesh, as it is configured for one Service: our objects in it, those of others, and how ours are
// written. It is a value: it changes nothing, and reads its objects at each call.
type Backend interface {
	// Kinds are those of the two derived objects: the one that holds the routes, and the one that holds the subsets.
	Kinds() (routes, subsets schema.GroupVersionKind)
	// Routes are our routes in the cluster, as they are, edited or not; false where there are none that grayscale wrote.
	Routes() (Routes, bool)
	// Subsets are our subsets in the cluster, likewise.
	Subsets() (Subsets, bool)
	// RenderRoutes gives the object that says the rules and remembers the state.
	RenderRoutes(rules []Rule, st release.State) Write
	// RenderSubsets gives the object with a subset of each version in sub.Added, which remembers sub.
	RenderSubsets(sub release.Subsets) Write
	// ReadTraffic tells the split that the routes in an object ask for; false where it is not one for all ports, which
	// ours always is until somebody edits it. Rules without weights are no part of it.
	ReadTraffic(o Object) (release.Traffic, bool)

	// Blind are the clients whose proxies lack a subset of one of the versions, because of other people's objects.
	Blind(versions []string) []Blind
	// ComingBlind are those that will, once the API server has done what it asks about; nil where it asks about nothing.
	ComingBlind(versions []string) []Blind

	// InstallProblems say what the cluster lacks, so that nothing of ours can be there.
	InstallProblems() []intent.Problem
	// PortProblems say why the Service cannot be released behind; copies is true where its requests are to be copied.
	PortProblems(copies bool) []intent.Problem
	// HostProblems name the routes of others that clients follow in place of ours.
	HostProblems() []intent.Problem
	// SubsetProblems name the objects of others beside which ours would not reach every client, or would take something
	// from them. version is a candidate's, stable is stable's; each is empty where there is none.
	SubsetProblems(version, stable string) []intent.Problem
	// Routable reports whether the mesh chooses pods for the Service's clients at all.
	Routable() bool
}

// Routes are what our routes in the cluster say.
type Routes struct {
	// Object holds them. It is the cache's: nobody changes it.
	Object Object
	// State is what it remembers; Damaged reports that this cannot be read, and State is zero.
	State   release.State
	Damaged bool
	refers  func(version string) bool
}

// NewRoutes reads what the object remembers. refers tells whether its routes lead to a version.
func NewRoutes(o Object, refers func(version string) bool) Routes {
	st, ok := ReadState(o)
	return Routes{Object: o, State: st, Damaged: !ok, refers: refers}
}

// Refers reports whether the routes send requests, connections or copies to the version's subset. The routes tell it
// themselves, not the state: somebody may have edited them since.
func (r Routes) Refers(version string) bool { return r.refers != nil && r.refers(version) }

// Subsets are what the object with our subsets says.
type Subsets struct {
	// Object holds them. It is the cache's: nobody changes it.
	Object Object
	// State is what it remembers. Damaged reports that this cannot be read: State then has the object's own subsets,
	// without times.
	State   release.Subsets
	Damaged bool
	// Versions are those whose subset is really there, and selects what it should.
	Versions []string
}

// Has reports whether the version's subset is really there, whatever the object remembers.
func (s Subsets) Has(version string) bool { return slices.Contains(s.Versions, version) }

// Write is a derived object as it is wanted, and what its write rests on.
type Write struct {
	// Object is whole. It has the resourceVersion of the one in the cluster, so that the API server refuses what was
	// decided from an older one. Without a resourceVersion it is to be created.
	Object Object
	// Same reports that the cluster has it so already. Nothing is to be written then, and all below is false.
	Same bool
	// RestsOnDerived reports that it is right only while the other derived object is as it was read: routes begin to
	// refer to a subset; or a subset goes, or is not known to be there, that routes could refer to.
	RestsOnDerived bool
	// RestsOnOthers reports that it is right only while other people's objects are as they were read.
	RestsOnOthers bool
	// Upgrades reports that the cluster says the same as an earlier grayscale wrote it: nobody edited it.
	Upgrades bool
}

// Blind are clients whose proxies lack subsets that the routes name.
type Blind struct {
	release.Clients
	// Objects are those of others that hide our subsets from them, as namespace/name; none where ours was edited.
	Objects []string
	// Problem tells it to the owner of a release.
	Problem intent.Problem
}
