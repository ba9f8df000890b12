package sim

import (
	"math"
	"slices"
	"time"

	"istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

// How fast istiod is here. Its debounce is bounded by PILOT_DEBOUNCE_MAX, which settle has to outlast.
const (
	istiodLag     = 20 * time.Millisecond
	debounceAfter = 100 * time.Millisecond
	debounceMax   = 400 * time.Millisecond
	pushMost      = 150 * time.Millisecond // from the end of a debounce to the push to one Envoy
	applyMost     = 60 * time.Millisecond  // from one type's answer to the next
)

// slowest is how long anything takes from the API server to every Envoy, the EndpointSlice controller's back-off
// included. An Envoy that is still busy with one push takes the next one only then, so that both count.
const slowest = 40*time.Millisecond + backOff + istiodLag + debounceMax + pushMost + 2*2*applyMost

// istiod turns what it knows into configurations, and pushes these once changes have paused for long enough.
type istiod struct {
	w      *world
	cache  *cache
	serial int
	first  time.Duration // the oldest change that is not pushed yet; negative for none
	last   time.Duration
}

// config is what one push tells an Envoy about each Service, in the order of world.services.
type config struct {
	serial   int
	services []served
}

// served is what an Envoy is told about one Service.
type served struct {
	host     bool
	plain    []string // pods of the Service
	clusters []cluster
	routes   []route // nil where no VirtualService routes the host
}

// cluster is Istio's "outbound|80|<subset>|<host>".
type cluster struct {
	name string
	pods []string
}

// route sends a share of the requests or connections, or copies of them, to a subset; to the whole Service where that
// is empty.
type route struct {
	subset string
	weight float64
	copies bool
}

func newIstiod(w *world) *istiod {
	i := &istiod{w: w, first: -1}
	i.cache = w.subscribe(istiodLag, i.changed, endpointSlices, pods, services, virtualServices, destinationRules)
	return i
}

func (i *istiod) changed(_, _ object) {
	i.last = i.w.now
	if i.first < 0 {
		i.first = i.w.now
		i.w.after(debounceAfter, i.debounce)
	}
}

func (i *istiod) debounce() {
	quietAt := min(i.last+debounceAfter, i.first+debounceMax)
	if i.w.now < quietAt {
		i.w.at(quietAt, i.debounce)
		return
	}
	i.first = -1
	i.serial++
	for _, e := range i.w.envoys {
		c := i.config(e.namespace)
		i.w.after(i.w.between(time.Millisecond, pushMost), func() { e.push(c) })
	}
}

// config is what the clients of a namespace get.
func (i *istiod) config(client string) *config {
	c := &config{serial: i.serial}
	for _, service := range i.w.services {
		c.services = append(c.services, i.served(service, client))
	}
	return c
}

func (i *istiod) served(service, client string) served {
	c := served{}
	_, c.host = get[*kubeService](i.cache.tables[services], service)
	slice, ok := get[*endpointSlice](i.cache.tables[endpointSlices], service)
	if ok {
		c.plain = slice.pods
	}
	rules := i.cache.tables[destinationRules]
	if dr, ok := get[*destinationRule](rules, mesh.Name(service)); ok && seesOurs(rules, service, client) {
		for _, s := range dr.spec.Spec.Subsets {
			c.clusters = append(c.clusters, cluster{s.GetName(), i.labelled(c.plain, s.GetLabels()[release.VersionLabel])})
		}
	}
	if vs, ok := get[*virtualService](i.cache.tables[virtualServices], mesh.Name(service)); ok {
		c.routes = routesFor(vs.spec, client)
	}
	return c
}

// labelled: istiod takes labels from the pods themselves, as it knows them.
func (i *istiod) labelled(names []string, version string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		p, ok := get[*pod](i.cache.tables[pods], name)
		return !ok || p.label != version
	})
}

// routesOf reads a VirtualService as istiod does: of every port, without what has no weight.
func routesOf(vs *networkingv1.VirtualService) []route {
	var out []route
	add := func(d *v1alpha3.Destination, weight float64, copies bool) {
		r := route{d.GetSubset(), weight, copies}
		if weight > 0 && !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	lone := func(n int, weight int32) float64 {
		if n == 1 {
			return 100
		}
		return float64(weight)
	}
	for _, h := range vs.Spec.Http {
		for _, d := range h.GetRoute() {
			add(d.GetDestination(), lone(len(h.GetRoute()), d.GetWeight()), false)
		}
		for _, m := range h.GetMirrors() {
			add(m.GetDestination(), m.GetPercentage().GetValue(), true)
		}
	}
	for _, t := range vs.Spec.Tcp {
		for _, d := range t.GetRoute() {
			add(d.GetDestination(), lone(len(t.GetRoute()), d.GetWeight()), false)
		}
	}
	return out
}

// total is the sum of the weights of requests, without copies.
func total(routes []route) float64 {
	sum := 0.0
	for _, r := range routes {
		if !r.copies {
			sum += r.weight
		}
	}
	return math.Round(sum)
}
