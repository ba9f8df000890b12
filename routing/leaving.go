package routing

import (
	"slices"
	"time"

	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

// readLeaving marks the Deployments whose pods are about to go: the API server asks about them now, or asked so
// recently that it may still act. A Deployment that is still there after settle.AnnouncedLimit gets its traffic back.
func (x *situation) readLeaving() {
	if len(x.facts.Leaving) == 0 && len(x.state.Leaving) == 0 {
		return
	}
	now := x.facts.Now
	for _, v := range x.versions {
		asked, announced := x.state.Leaving[v.Name]
		if slices.Contains(x.facts.Leaving, v.Name) && slices.Contains(x.referenced, x.state.VersionOf(v.Name)) {
			asked, announced = now, true
		}
		if asked.After(now) {
			asked = x.settle.Past(x.facts.RoutesSince)
		}
		left := x.settle.Announced(asked)
		if !announced || left.Over() || v.Deleting || v.Replicas == 0 {
			continue
		}
		v.LeavingSince = asked
		if x.leaves == 0 || left < x.leaves {
			x.leaves = left
		}
	}
}

// leaving are the announced ends to record, per Deployment.
func (x *situation) leaving() map[string]time.Time {
	var out map[string]time.Time
	for _, v := range x.versions {
		if v.LeavingSince.IsZero() {
			continue
		}
		if out == nil {
			out = map[string]time.Time{}
		}
		out[v.Name] = v.LeavingSince
	}
	return out
}

// Drained returns how long it takes until every Envoy has stopped sending to the Deployment, with the given routes,
// which may have just been written. It is zero if all have stopped, or if the Deployment keeps its traffic because
// nobody else can take it.
func (f Facts) Drained(routes mesh.Object, deployment string, s Settings) time.Duration {
	if !isOurs(routes) {
		return 0
	}
	st, _ := mesh.ReadState(routes)
	version := st.VersionOf(deployment)
	if left, ok := st.Left[version]; ok && version != "" {
		now := f.settlement(s)
		return time.Duration(max(0, now.Routes(now.Past(left))))
	}
	return 0
}

// Served reports whether the routes send requests or connections to the Deployment.
func Served(routes mesh.Object, deployment string) bool {
	if !isOurs(routes) {
		return false
	}
	st, _ := mesh.ReadState(routes)
	return release.ShareOf(st.Traffic.Weights, st.VersionOf(deployment)) > 0
}
