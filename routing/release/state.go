package release

import (
	"slices"
	"strings"
	"time"

	"grayscale.dev/grayscale/routing/intent"
)

// Weight is a version's share of the Service's requests (HTTP) or connections (TCP).
type Weight struct {
	Version string         `json:"version"`
	Share   intent.Percent `json:"share"`
}

// ShareOf is the version's share in the list; zero if it is not there.
func ShareOf(list []Weight, version string) intent.Percent {
	for _, w := range list {
		if w.Version == version {
			return w.Share
		}
	}
	return 0
}

// Traffic is how Envoy is to split the traffic of a Service. Weights add up to intent.Hundred, contain no zero, and are
// sorted by Version. Mirrors are the shares of requests to copy, also without zeros and sorted by Version.
type Traffic struct {
	Weights []Weight `json:"weights"`
	Mirrors []Weight `json:"mirrors,omitempty"`
}

// Versions are the versions that the traffic refers to, sorted and without duplicates.
func (t Traffic) Versions() []string {
	var out []string
	for _, w := range slices.Concat(t.Weights, t.Mirrors) {
		out = append(out, w.Version)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func byVersion(a, b Weight) int { return strings.Compare(a.Version, b.Version) }

// Member is a Deployment with the version under which it has or had a role.
type Member struct {
	Deployment string `json:"deployment"`
	Version    string `json:"version"`
}

// LastGood is a version other than stable with the last good intent of its Deployment: its routes stay at it while the
// Deployment is paused or its annotations are wrong. A zero Intent means that it has left the release (aborted, or
// stable before another version was promoted); routes stay pinned until it is gone.
type LastGood struct {
	Member
	Intent intent.Intent `json:"intent"`
	// Beside is true if it is, or was when it left, a candidate of other Services, which gets nothing here.
	Beside bool `json:"beside,omitempty"`
}

// Schema is the number of the format in which State and Subsets are written. A change that an older grayscale would
// misread gets the next number; a field that it may ignore needs none. All lower numbers can be read. A state without a
// number has the first format.
const Schema = 1

// State is what a release must remember. It is stored in the annotation grayscale.dev/state of the derived
// VirtualService, next to the weights that it explains, so that both change in one atomic write.
type State struct {
	// Schema is the format that it was written in; it comes first in JSON.
	Schema     int        `json:"schema,omitempty"`
	Stable     Member     `json:"stable"`
	Candidates []LastGood `json:"candidates,omitempty"`
	// Also names the other Deployments of Stable's version that are stable together with it.
	Also []string `json:"also,omitempty"`
	// PinnedAt is when the VirtualService was first written.
	PinnedAt time.Time `json:"pinnedAt,omitzero"`
	// Traffic is what was last written. If the VirtualService says something else, somebody edited it.
	Traffic Traffic `json:"traffic"`
	// Left holds the versions that routes stopped referring to, or whose Deployment went before its pods, with the time
	// of that. Their subsets may go once it has settled.
	Left map[string]time.Time `json:"left,omitempty"`
	// Newest is the latest resourceVersion of the Deployments that the traffic was decided from. A replica that has not
	// seen that much yet, for example because it has just become leader, would go back to older annotations.
	Newest string `json:"newest,omitempty"`
	// Bypasses are the clients that the routes lead past the subsets, sorted.
	Bypasses []Bypass `json:"bypasses,omitempty"`
	// Leaving holds the Deployments whose deletion or scaling to zero was announced and has not happened yet, with the
	// time of the announcement.
	Leaving map[string]time.Time `json:"leaving,omitempty"`
}

// Stables are all stable members, Stable first; none if nobody is stable.
func (st State) Stables() []Member { return stables(st.Stable, st.Also) }

// IsStable reports whether the Deployment is one of Stables.
func (st State) IsStable(deployment string) bool { return isStable(st.Stables(), deployment) }

func isStable(stables []Member, deployment string) bool {
	return slices.ContainsFunc(stables, func(m Member) bool { return m.Deployment == deployment })
}

func stables(first Member, also []string) []Member {
	if first.Deployment == "" {
		return nil
	}
	out := []Member{first}
	for _, name := range also {
		out = append(out, Member{name, first.Version})
	}
	return out
}

// Known finds what the state holds about a Deployment that is not stable; false if nothing.
func (st State) Known(deployment string) (LastGood, bool) {
	for _, g := range st.Candidates {
		if g.Deployment == deployment {
			return g, true
		}
	}
	return LastGood{}, false
}

// VersionOf is the version under which a Deployment has a role; empty if it has none.
func (st State) VersionOf(deployment string) string {
	if st.IsStable(deployment) {
		return st.Stable.Version
	}
	g, _ := st.Known(deployment)
	return g.Version
}

// lastGood is the recorded intent of a Deployment under that version. Nothing is recorded for a version that it did not
// have then.
func (st State) lastGood(deployment, version string) intent.Intent {
	for _, g := range st.Candidates {
		if g.Deployment == deployment && g.Version == version {
			return g.Intent
		}
	}
	return intent.Intent{}
}

// Follows reports whether the routes have followed the annotations of a Deployment under that version.
func (st State) Follows(deployment, version string) bool {
	return st.lastGood(deployment, version).Strategy != ""
}

// served is the share of the traffic that was last written for a version.
func (st State) served(version string) intent.Percent { return ShareOf(st.Traffic.Weights, version) }

// Subsets is the state of the derived DestinationRule: its versions, and when the subset of each was added. It is
// stored in the annotation grayscale.dev/state of the DestinationRule.
type Subsets struct {
	// Schema is the format that it was written in; it comes first in JSON.
	Schema int                  `json:"schema,omitempty"`
	Added  map[string]time.Time `json:"added"`
	// Going holds the versions whose subset is about to go, with the time of that mark. Routes begin to refer to such a
	// subset only after the mark is taken off. So a replica that removes the subset long after the mark cannot be
	// overtaken by one that read the rule before the mark.
	Going map[string]time.Time `json:"going,omitempty"`
}
