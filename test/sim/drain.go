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
	w.drainAll(r, d.name, w.now+drainPatience, then)
}

// drainAll is the annotator's drain: it has the traffic of each Service moved away, and looks again once the longest wait is over.
func (w *world) drainAll(r *replica, name string, until time.Duration, then func()) {
	longest := time.Duration(0)
	left := map[*book]string{}
	var from func(keys []*key)
	from = func(keys []*key) {
		if len(keys) > 0 {
			w.moveAway(keys[0], name, until, func(wait time.Duration, subset string, err error) {
				if err != nil {
					then() // the API server waits no longer, or is cut off
					return
				}
				longest, left[w.judge.book(keys[0].service)] = max(longest, wait), subset
				from(keys[1:])
			})
			return
		}
		done := func() {
			for b, subset := range left {
				if subset != "" {
					b.drained(subset)
				}
			}
			then()
		}
		switch {
		case longest == 0:
			done()
		case w.mutation.oneLook:
			w.at(min(w.now+longest, until), done)
		default:
			w.at(min(w.now+longest, until), func() { w.drainAll(r, name, until, then) })
		}
	}
	from(r.keys)
}

// moveAway decides with the announcement, writes the VirtualService alone, and tells how long until that has settled.
func (w *world) moveAway(k *key, name string, until time.Duration, then func(wait time.Duration, left string, err error)) {
	if w.now >= until || !k.alive {
		then(0, "", errDead)
		return
	}
	facts, view := k.observe()
	facts.Leaving = []string{name}
	d := routing.Decide(facts, settings)
	routes := facts.VirtualService
	if d.ApplyVirtualService != nil && routes != nil {
		routes = d.ApplyVirtualService
		h := newHands(k, facts, d, view)
		for _, step := range d.Routes().Steps() {
			switch err := step(h); {
			case errors.Is(err, errConflict), errors.Is(err, errNotYet):
				w.after(shortest, func() { w.moveAway(k, name, until, then) })
				return
			case err != nil:
				then(0, "", err)
				return
			}
		}
	}
	then(w.mutation.wait(facts.Drained(routes, name, settings)), leftBy(routes, name), nil)
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
