package istio

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"time"

	"istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// Ours reports whether the VirtualService is one that grayscale wrote, whoever edited it since.
func Ours(vs *networkingv1.VirtualService) bool { return byGrayscale(vs) }

// OursRule reports whether the DestinationRule is one that grayscale wrote, whoever edited it since.
func OursRule(dr *networkingv1.DestinationRule) bool { return byGrayscale(dr) }

func byGrayscale(o metav1.Object) bool {
	_, state := o.GetAnnotations()[intent.KeyState]
	return state || o.GetLabels()[ManagedBy] == Manager
}

// ReadState reads what the VirtualService remembers; false where the annotation is absent or damaged.
func ReadState(vs *networkingv1.VirtualService) (release.State, bool) {
	var st release.State
	if err := json.Unmarshal([]byte(vs.Annotations[intent.KeyState]), &st); err != nil {
		return release.State{}, false
	}
	return st, true
}

// ReadSubsets reads when each subset was added and marked as going; false where the annotation is absent or damaged: then
// they are those that the rule has, added at no time that is known.
func ReadSubsets(dr *networkingv1.DestinationRule) (release.Subsets, bool) {
	var sub release.Subsets
	if err := json.Unmarshal([]byte(dr.Annotations[intent.KeyState]), &sub); err == nil {
		return sub, true
	}
	sub = release.Subsets{Added: map[string]time.Time{}}
	for _, s := range dr.Spec.Subsets {
		if version := s.GetLabels()[release.VersionLabel]; s.GetName() == SubsetName(version) && means(s, version) {
			sub.Added[version] = time.Time{}
		}
	}
	return sub, false
}

// Subsets are the names of the rule's subsets, in its order.
func Subsets(dr *networkingv1.DestinationRule) []string {
	out := make([]string, len(dr.Spec.Subsets))
	for i, s := range dr.Spec.Subsets {
		out[i] = s.GetName()
	}
	return out
}

// HasSubset reports whether the rule has the version's subset with exactly the label that it ought to have.
func HasSubset(dr *networkingv1.DestinationRule, version string) bool {
	name := SubsetName(version)
	return slices.ContainsFunc(dr.Spec.Subsets, func(s *v1alpha3.Subset) bool {
		return s.GetName() == name && means(s, version)
	})
}

func means(s *v1alpha3.Subset, version string) bool {
	return len(s.GetLabels()) == 1 && s.GetLabels()[release.VersionLabel] == version
}

// ReferencedSubsets are the names of the subsets that the VirtualService sends requests, connections or copies to,
// sorted and without repetition. It reads the routes themselves, whoever wrote them.
func ReferencedSubsets(vs *networkingv1.VirtualService) []string {
	var out []string
	add := func(d *v1alpha3.Destination) {
		if d.GetSubset() != "" {
			out = append(out, d.GetSubset())
		}
	}
	for _, r := range vs.Spec.Http {
		for _, d := range r.GetRoute() {
			add(d.GetDestination())
		}
		for _, m := range r.GetMirrors() {
			add(m.GetDestination())
		}
		add(r.GetMirror())
	}
	for _, r := range slices.Concat(connectionRoutes(vs)...) {
		add(r.GetDestination())
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func connectionRoutes(vs *networkingv1.VirtualService) [][]*v1alpha3.RouteDestination {
	var out [][]*v1alpha3.RouteDestination
	for _, r := range vs.Spec.Tcp {
		out = append(out, r.GetRoute())
	}
	for _, r := range vs.Spec.Tls {
		out = append(out, r.GetRoute())
	}
	return out
}

// ReadTraffic is what the routes in the cluster ask Envoy for; false where they cannot be read as one Traffic for all
// ports, which ours always can until somebody edits them. Versions are told by the names of their subsets: those
// that the state speaks of, and any that is its own subset's name. Routes that lead some clients past the subsets are not
// part of it.
func ReadTraffic(vs *networkingv1.VirtualService) (release.Traffic, bool) {
	r := reader{versions: knownVersions(vs)}
	for _, h := range vs.Spec.Http {
		var weights []share
		for _, d := range h.GetRoute() {
			weights = append(weights, share{d.GetDestination(), float64(d.GetWeight())})
		}
		if isWhole(weights) {
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
		if !isWhole(weights) {
			r.weights(weights)
		}
	}
	return r.read, !r.failed && len(r.read.Weights) > 0
}

func knownVersions(vs *networkingv1.VirtualService) map[string]string {
	st, _ := ReadState(vs)
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

// share is a destination with a weight or a percentage.
type share struct {
	to    *v1alpha3.Destination
	share float64
}

// isWhole: the route leads to the whole Service.
func isWhole(weights []share) bool { return len(weights) == 1 && weights[0].to.GetSubset() == "" }

// reader reads one route after the other, and fails where two differ.
type reader struct {
	versions map[string]string // by subset name
	read     release.Traffic
	mirrored bool // the mirrors of one route have been read
	failed   bool
}

// weights reads a route's destinations; their weights sum to 100 or to 10000, or there is only one.
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

// shares turns destinations into versions, sorted; those without a share are nothing.
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
	slices.SortFunc(out, func(a, b release.Weight) int {
		if a.Version < b.Version {
			return -1
		}
		return 1
	})
	return out
}
