package sim

import (
	"errors"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
)

// drainPatience is how long a deletion or a scaling to zero waits at the door, at most.
const drainPatience = 4 * time.Second

// ends has the door asked about the end of a Deployment: a live replica, be it the leader or not, has its traffic moved
// away first. What follows is done then, or at once where nobody answers.
func (w *world) ends(d *deployment, then func()) {
	r := w.answering()
	if r == nil || len(d.annotations) == 0 {
		then()
		return
	}
	w.drainFrom(r, d.name, w.now+drainPatience, then)
}

// drainFrom is the annotator's drain: it decides with the announcement, writes the VirtualService alone, and waits until
// that has settled.
func (w *world) drainFrom(r *replica, name string, until time.Duration, then func()) {
	if w.now >= until || !r.alive {
		then() // the API server waits no longer, or is cut off
		return
	}
	facts, view := r.observe()
	facts.Leaving = []string{name}
	d := routing.Decide(facts, settings)
	routes := facts.VirtualService
	if d.ApplyVirtualService != nil && routes != nil {
		routes = d.ApplyVirtualService
		h := newHands(r, facts, d, view)
		for _, step := range d.Routes().Steps() {
			switch err := step(h); {
			case errors.Is(err, errConflict), errors.Is(err, errNotYet):
				w.after(shortest, func() { w.drainFrom(r, name, until, then) })
				return
			case err != nil:
				then()
				return
			}
		}
	}
	done := func() {
		if left := leftBy(routes, name); left != "" {
			w.judge.drained(left)
		}
		then()
	}
	wait := w.mutation.wait(facts.Drained(routes, name, settings))
	switch {
	case wait == 0:
		done()
	case w.mutation.oneLook:
		w.at(min(w.now+wait, until), done)
	default:
		w.at(min(w.now+wait, until), func() { w.drainFrom(r, name, until, then) })
	}
}

// leftBy is the subset of a Deployment that routes have left; empty where they have not.
func leftBy(vs *networkingv1.VirtualService, name string) string {
	if vs == nil {
		return ""
	}
	st, _ := istio.ReadState(vs)
	members := []release.Member{st.Stable}
	for _, h := range st.Candidates {
		members = append(members, h.Member)
	}
	for _, m := range members {
		if _, left := st.Left[m.Version]; left && m.Deployment == name {
			return istio.SubsetName(m.Version)
		}
	}
	return ""
}
