package release

import (
	"slices"
	"strings"

	"grayscale.dev/grayscale/routing/intent"
)

// Share gives every version its traffic. A version gets some only where it serves: it has a ready pod, is neither
// held nor on its way out, and usable says that Envoy knows its subset. What a candidate cannot take goes to stable;
// what stable cannot take goes to the candidates that have a share, and, where stable is leaving for good, to the
// oldest candidate that serves, of those that are released behind other Services the one with the largest share there. It reports false where nobody who may have the traffic can take it: then routes stay as
// they are, and all goes to stable where there are none yet.
func Share(c Cast, usable func(version string) bool) (Traffic, bool) {
	shares := map[string]intent.Percent{}
	var sum intent.Percent
	for _, x := range c.Candidates {
		if ask := x.Followed.Share(); ask > 0 && serves(x, usable) {
			shares[x.Version] += ask
			sum += ask
		}
	}
	rest := intent.Hundred - sum
	switch {
	case rest == 0:
	case c.StableServes():
		shares[c.Stable.Version] += rest
	case sum > 0:
		spread(shares, sum)
	case c.StableStays():
		return all(c.Stable.Version, usable), false
	default:
		heir := -1
		for i, x := range c.Candidates {
			if serves(x, usable) && (heir < 0 || x.standing() > c.Candidates[heir].standing()) {
				heir = i
			}
		}
		if heir < 0 {
			return all(c.Stable.Version, usable), false
		}
		shares[c.Candidates[heir].Version] = intent.Hundred
	}
	if shares[c.Stable.Version] > 0 && !usable(c.Stable.Version) {
		return Traffic{}, false
	}
	return Traffic{Weights: weights(shares), Mirrors: mirrors(c, usable)}, true
}

// all is everything to one version, or nothing where Envoy does not know it.
func all(version string, usable func(string) bool) Traffic {
	if !usable(version) {
		return Traffic{}
	}
	return Traffic{Weights: []Weight{{version, intent.Hundred}}}
}

func serves(c Candidate, usable func(string) bool) bool {
	d := c.Deployment
	return c.Version != "" && !leaving(d) && !IsHeld(d) && d.Ready(c.Version) > 0 && usable(c.Version)
}

// leaving: its pods are about to go, so traffic has to go first.
func leaving(d Deployment) bool { return d.Deleting || d.Replicas == 0 || !d.LeavingSince.IsZero() }

// spread scales shares so that they fill everything, the remainder of the division going to the first version.
func spread(shares map[string]intent.Percent, sum intent.Percent) {
	versions := make([]string, 0, len(shares))
	for v := range shares {
		versions = append(versions, v)
	}
	slices.Sort(versions)
	rest := intent.Hundred
	for _, v := range versions {
		shares[v] = shares[v] * intent.Hundred / sum
		rest -= shares[v]
	}
	shares[versions[0]] += rest
}

func weights(shares map[string]intent.Percent) []Weight {
	var out []Weight
	for v, s := range shares {
		if s > 0 {
			out = append(out, Weight{v, s})
		}
	}
	slices.SortFunc(out, byVersion)
	return out
}

func mirrors(c Cast, usable func(string) bool) []Weight {
	var out []Weight
	for _, x := range c.Candidates {
		if x.Followed.Strategy == intent.Mirror && x.Followed.MirrorPercent > 0 && serves(x, usable) {
			out = append(out, Weight{x.Version, x.Followed.MirrorPercent})
		}
	}
	slices.SortFunc(out, byVersion)
	return out
}

func byVersion(a, b Weight) int { return strings.Compare(a.Version, b.Version) }

func sortedVersions(t Traffic) []string {
	var out []string
	for _, w := range slices.Concat(t.Weights, t.Mirrors) {
		out = append(out, w.Version)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
