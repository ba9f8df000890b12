package release

import (
	"slices"

	"grayscale.dev/grayscale/routing/intent"
)

// Share gives every version its traffic. A version gets traffic only if it serves: it has a ready pod, is neither held
// nor about to end, and usable says that Envoy knows its subset. What a candidate cannot take goes to stable. What
// stable cannot take goes to the candidates that have a share, or, if stable is about to end, to a fallback.
//
// Share returns false if nobody who may have the traffic can take it. Existing routes then stay as they are; the first
// routes send everything to stable.
func Share(r Roles, usable func(version string) bool) (Traffic, bool) {
	shares := map[string]intent.Percent{}
	var sum intent.Percent
	for _, c := range r.Candidates {
		if ask := c.Followed.Share(); ask > 0 && c.serves(usable) {
			shares[c.Label] += ask
			sum += ask
		}
	}
	rest := intent.Hundred - sum
	switch {
	case rest == 0:
	case r.StableServes():
		shares[r.Stable.Version] += rest
	case sum > 0:
		spread(shares, sum)
	case r.StableStays():
		return all(r.Stable.Version, usable), false
	default:
		c := fallback(r, usable)
		if c == nil {
			return all(r.Stable.Version, usable), false
		}
		shares[c.Label] = intent.Hundred
	}
	if shares[r.Stable.Version] > 0 && !usable(r.Stable.Version) {
		return Traffic{}, false
	}
	return Traffic{Weights: weights(shares), Mirrors: mirrors(r, usable)}, true
}

// fallback takes over from a stable that is about to end. It is the oldest candidate that serves, or, among those that
// are released behind other Services, the one with the largest share there. It is nil if none serves.
func fallback(r Roles, usable func(string) bool) *Candidate {
	var best *Candidate
	for _, c := range r.Candidates {
		if c.serves(usable) && (best == nil || c.standing() > best.standing()) {
			best = c
		}
	}
	return best
}

// all sends everything to one version, or nothing if Envoy does not know it.
func all(version string, usable func(string) bool) Traffic {
	if !usable(version) {
		return Traffic{}
	}
	return Traffic{Weights: []Weight{{version, intent.Hundred}}}
}

func (c *Candidate) serves(usable func(string) bool) bool {
	return c.Label != "" && !c.IsLeaving() && !c.IsHeld() && c.Serving() > 0 && usable(c.Label)
}

// spread scales the shares so that they add up to everything. The first version gets the remainder of the division.
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

func mirrors(r Roles, usable func(string) bool) []Weight {
	var out []Weight
	for _, c := range r.Candidates {
		if share := c.Followed.Copies(); share > 0 && c.serves(usable) {
			out = append(out, Weight{c.Label, share})
		}
	}
	slices.SortFunc(out, byVersion)
	return out
}
