// Package observe gathers what is known about the cluster into the facts that routing decides from. Everything that
// decides or explains calls Gather: the controller and the webhook with the store that they share, a command with what
// it has just read from the API server, the simulator with a watch of its own.
package observe

import (
	"slices"
	"strings"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/cluster"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

// Moment is when facts are gathered, and by whom.
type Moment struct {
	// Now is the time by the clock of the process.
	Now time.Time
	// FirstSeen is what the process has seen before; Gather adds what it sees now. Callers that only explain leave it
	// nil: every time is then long ago.
	FirstSeen *FirstSeen
	// Back is when istiod's watches are back after the last outage of the API server; zero where there was none.
	Back time.Time
}

// Observation is facts, and the Deployments that they come from.
type Observation struct {
	Facts routing.Facts
	// Deployments are the Deployments of Facts, by name. Writes need their resourceVersions.
	Deployments map[string]*appsv1.Deployment
}

// Gather gathers what is known about one Service, and about its siblings in Facts.Beside. A key without a name stands
// for the participants of the namespace that are behind no Service.
func Gather(r Reader, key types.NamespacedName, at Moment) Observation {
	o := GatherAlone(r, key, at)
	for _, sibling := range Siblings(r, key) {
		if r.GetService(sibling.Namespace, sibling.Name) != nil {
			o.Facts.Beside = append(o.Facts.Beside, GatherAlone(r, sibling, at).Facts)
		}
	}
	return o
}

// GatherAlone is Gather without the siblings.
func GatherAlone(r Reader, key types.NamespacedName, at Moment) Observation {
	o := Observation{Deployments: map[string]*appsv1.Deployment{}}
	f := &o.Facts
	f.Now, f.Seen = at.Now, r.Seen(key.Namespace)
	f.Service = release.Service{Namespace: key.Namespace, Name: key.Name, Missing: true}
	if s := r.GetService(key.Namespace, key.Name); s != nil {
		f.Service = cluster.Service(s)
	}
	deployments := behind(r, key, f.Service)
	f.Deployments = withPods(r, f.Service, deployments, at)
	for _, d := range deployments {
		o.Deployments[d.Name] = d
		f.Newest = newer(f.Newest, d.ResourceVersion)
	}
	f.Services = others(r, key, deployments)
	strays := strays(r, f.Service, deployments)
	f.Strays, f.Workloads = count(strays, f.Service.Selector, nil), workloads(strays)
	is := r.Istio()
	m := istio.Mesh{Missing: is == nil}
	if is != nil && !f.Service.Missing {
		m = gatherIstio(is, key, istio.Host(f.Service, r.Domain()))
		m.MeshRoutes = r.MeshRoutes(key.Namespace, key.Name)
		f.FirstSeen = at.FirstSeen.objects(key, m, at)
	}
	f.Mesh = m
	return o
}

// withPods are the facts about Deployments with their pods. A pod counts as ready only where the Service selects it.
func withPods(r Reader, s release.Service, list []*appsv1.Deployment, at Moment) []release.Deployment {
	var all []podGroup
	pods := make([][]podGroup, len(list))
	for i, d := range list {
		pods[i] = podsOf(r, d)
		all = append(all, pods[i]...)
	}
	watched := at.FirstSeen.readyPods(types.NamespacedName{Namespace: s.Namespace, Name: s.Name}, at.Now, all)
	var out []release.Deployment
	for i, d := range list {
		one := cluster.Deployment(d)
		one.Pods = count(pods[i], s.Selector, watched)
		out = append(out, one)
	}
	return out
}

// gatherIstio are the derived objects of a Service, and all others that name its host, literally or by a wildcard.
func gatherIstio(is IstioReader, service types.NamespacedName, host string) istio.Mesh {
	var m istio.Mesh
	name := mesh.Name(service.Name)
	m.VirtualService, m.OtherVirtualServices = apart(naming(is.ListVirtualServices, host), service.Namespace, name)
	if m.VirtualService == nil {
		m.VirtualService = is.GetVirtualService(service.Namespace, name) // it names another host now: somebody edited it
	}
	m.DestinationRule, m.OtherDestinationRules = apart(naming(is.ListDestinationRules, host), service.Namespace, name)
	if m.DestinationRule == nil {
		m.DestinationRule = is.GetDestinationRule(service.Namespace, name)
	}
	return m
}

// IstioIn are the objects of Istio that facts are made of.
func IstioIn(f routing.Facts) istio.Mesh {
	m, _ := f.Mesh.(istio.Mesh)
	return m
}

// naming are the objects for a host or for any wildcard, without duplicates, sorted by namespace and name.
func naming[T metav1.Object](list func(hostKey string) []T, host string) []T {
	out := slices.Concat(list(host), list(Wildcard))
	slices.SortFunc(out, func(a, b T) int {
		return strings.Compare(a.GetNamespace()+"/"+a.GetName(), b.GetNamespace()+"/"+b.GetName())
	})
	return slices.CompactFunc(out, func(a, b T) bool { return a.GetUID() == b.GetUID() })
}

// apart splits a list into the object of a name, nil where it is not there, and all others.
func apart[T metav1.Object](list []T, namespace, name string) (T, []T) {
	var found T
	var others []T
	for _, o := range list {
		if o.GetNamespace() == namespace && o.GetName() == name {
			found = o
		} else {
			others = append(others, o)
		}
	}
	return found, others
}

// newer is the later of two resourceVersions.
func newer(a, b string) string {
	if order, err := resourceversion.CompareResourceVersion(a, b); a == "" || err == nil && order < 0 {
		return b
	}
	return a
}

// versionsOf identifies a set of rules in their current versions.
func versionsOf(rules []*networkingv1.DestinationRule) string {
	var out strings.Builder
	for _, o := range rules {
		out.WriteString(string(o.UID) + "@" + o.ResourceVersion + " ")
	}
	return out.String()
}

// VersionOf is an object's resourceVersion, empty where there is no object.
func VersionOf[T any, P interface {
	*T
	metav1.Object
}](o P) string {
	if o == nil {
		return ""
	}
	return o.GetResourceVersion()
}
