package istio

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

// ReadTraffic calls the function ReadTraffic; it is false for any object but a VirtualService.
func (m Mesh) ReadTraffic(o mesh.Object) (release.Traffic, bool) {
	if vs, ok := o.(*networkingv1.VirtualService); ok && vs != nil {
		return ReadTraffic(vs)
	}
	return release.Traffic{}, false
}

// ReadTraffic is what the routes ask Envoy for. It is false if they are not the same Traffic on all ports, which only
// happens if somebody edited them. Versions are found by the names of their subsets: those in the state, and any
// version that is its own subset's name. Routes to the whole Service are not part of it.
func ReadTraffic(vs *networkingv1.VirtualService) (release.Traffic, bool) {
	r := reader{versions: knownVersions(vs)}
	for _, h := range vs.Spec.Http {
		var weights []share
		for _, d := range h.GetRoute() {
			weights = append(weights, share{d.GetDestination(), float64(d.GetWeight())})
		}
		if toService(weights) {
			continue
		}
		r.weights(weights)
		r.mirrors(h)
	}
	for _, routes := range connectionRoutes(vs) {
		var weights []share
		for _, d := range routes {
			weights = append(weights, share{d.GetDestination(), float64(d.GetWeight())})
		}
		if !toService(weights) {
			r.weights(weights)
		}
	}
	return r.read, !r.failed && len(r.read.Weights) > 0
}

func knownVersions(vs *networkingv1.VirtualService) map[string]string {
	st, _ := mesh.ReadState(vs)
	versions := slices.AppendSeq(st.Traffic.Versions(), maps.Keys(st.Left))
	versions = append(versions, st.Stable.Version)
	for _, c := range st.Candidates {
		versions = append(versions, c.Version)
	}
	out := map[string]string{}
	for _, v := range versions {
		out[SubsetName(v)] = v
	}
	return out
}

// share is a destination with its weight or percentage.
type share struct {
	to    *v1alpha3.Destination
	share float64
}

// toService: the route leads to the whole Service, past the subsets.
func toService(weights []share) bool { return len(weights) == 1 && weights[0].to.GetSubset() == "" }

// reader reads one route after another, and fails if two of them differ.
type reader struct {
	versions map[string]string // by subset name
	read     release.Traffic
	mirrored bool // the mirrors of one route have been read
	failed   bool
}

// weights reads a route's destinations. Their weights sum to 100 or to 10000, or there is only one.
func (r *reader) weights(list []share) {
	var sum float64
	for _, s := range list {
		sum += s.share
	}
	if len(list) == 1 {
		list[0].share, sum = 1, 1
	}
	if sum != 1 && sum != 100 && sum != float64(intent.Hundred) {
		r.failed = true
		return
	}
	got := r.shares(list, float64(intent.Hundred)/sum)
	r.failed = r.failed || r.read.Weights != nil && !slices.Equal(r.read.Weights, got)
	r.read.Weights = got
}

func (r *reader) mirrors(h *v1alpha3.HTTPRoute) {
	var list []share
	for _, m := range h.GetMirrors() {
		percent := 100.0
		if m.GetPercentage() != nil {
			percent = m.GetPercentage().GetValue()
		}
		list = append(list, share{m.GetDestination(), percent})
	}
	got := r.shares(list, 100)
	r.failed = r.failed || h.GetMirror() != nil || r.mirrored && !slices.Equal(r.read.Mirrors, got)
	r.read.Mirrors, r.mirrored = got, true
}

// shares turns destinations into versions, sorted; destinations without a share are left out.
func (r *reader) shares(list []share, unit float64) []release.Weight {
	var out []release.Weight
	for _, s := range list {
		subset := s.to.GetSubset()
		version, known := r.versions[subset]
		if !known {
			version, known = subset, subset != "" && SubsetName(subset) == subset
		}
		r.failed = r.failed || !known
		if p := intent.Percent(math.Round(s.share * unit)); p > 0 {
			out = append(out, release.Weight{Version: version, Share: p})
		}
	}
	slices.SortFunc(out, func(a, b release.Weight) int { return cmp.Compare(a.Version, b.Version) })
	return out
}
