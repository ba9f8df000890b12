package routing

import (
	"slices"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
)

// leaveLimit is how long an announced end may be in coming: the API server asks grayscale before it acts, and whoever it
// asks beside may refuse. A Deployment that is still there then gets its traffic back.
const leaveLimit = 15 * time.Second

// leave marks the Deployments whose pods are about to go: those that the API server asks about now, and those that it
// asked about so lately that it may still act.
func (d *deciding) leave() {
	if len(d.facts.Leaving) == 0 && len(d.state.Leaving) == 0 {
		return
	}
	d.facts.Deployments = slices.Clone(d.facts.Deployments)
	for i := range d.facts.Deployments {
		x := &d.facts.Deployments[i]
		asked, announced := d.state.Leaving[x.Name]
		if slices.Contains(d.facts.Leaving, x.Name) && slices.Contains(d.referenced, versionIn(d.state, x.Name)) {
			asked, announced = d.facts.Now, true
		}
		if asked.After(d.facts.Now) {
			asked = notAfter(d.facts.RoutesSince, d.facts.Now)
		}
		// Another replica, whose clock may be behind, may have announced it: then it counts from when that was seen.
		left := latest(asked, d.facts.RoutesSince).Add(leaveLimit).Sub(d.facts.Now)
		if !announced || left <= 0 || x.Deleting || x.Replicas == 0 {
			continue
		}
		x.LeavingSince = asked
		d.lookAfter(left)
	}
}

// leaving are the announced ends to remember.
func (d *deciding) leaving() map[string]time.Time {
	var out map[string]time.Time
	for _, x := range d.facts.Deployments {
		if x.LeavingSince.IsZero() {
			continue
		}
		if out == nil {
			out = map[string]time.Time{}
		}
		out[x.Name] = x.LeavingSince
	}
	return out
}

// versionIn is the version that a Deployment has a part under; empty where it has none.
func versionIn(st release.State, deployment string) string {
	for _, m := range st.Stables() {
		if m.Deployment == deployment {
			return m.Version
		}
	}
	if h := holderOf(st, deployment); h != nil {
		return h.Version
	}
	return ""
}

// Drained tells how long it takes until every Envoy has stopped sending to the Deployment, as its Service's VirtualService
// stands: zero where all have, or where it gets traffic still, because nobody else can take it.
func (f Facts) Drained(vs *networkingv1.VirtualService, deployment string, s Settings) time.Duration {
	if vs == nil || !istio.Ours(vs) {
		return 0
	}
	st, _ := istio.ReadState(vs)
	version := versionIn(st, deployment)
	if left, ok := st.Left[version]; ok && version != "" {
		return max(0, latest(notAfter(left, f.Now), f.RoutesSince).Add(s.Settle).Sub(f.Now))
	}
	return 0
}

// Served reports whether the routes send requests or connections to the Deployment.
func Served(vs *networkingv1.VirtualService, deployment string) bool {
	if vs == nil || !istio.Ours(vs) {
		return false
	}
	st, _ := istio.ReadState(vs)
	version := versionIn(st, deployment)
	return slices.ContainsFunc(st.Traffic.Weights, func(w release.Weight) bool { return w.Version == version })
}
