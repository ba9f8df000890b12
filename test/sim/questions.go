package sim

import (
	"context"
	"errors"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

// patience is how long the API server waits for an answer about a deletion, a scaling to zero or a DestinationRule.
const patience = 4 * time.Second

// ask has a live replica, whether it leads or not, answer a question of the API server's, and goes on with what it
// says, or once it has taken too long.
func (w *world) ask(r *replica, question func(context.Context) error, then func(*call, error)) {
	until, answered := w.now+patience, false
	var c *call
	answer := func(err error) {
		if !answered {
			answered = true
			then(c, err)
		}
	}
	w.at(until, func() { answer(context.DeadlineExceeded) })
	c = r.call(until, question, func(err error) {
		w.after(0, func() { answer(err) })
	})
}

// ends has the door asked about the end of a Deployment: its traffic is moved away first. What follows is done then,
// or at once where nobody answers.
func (w *world) ends(d *deployment, then func()) {
	r := w.answering()
	if r == nil || len(d.annotations) == 0 {
		then()
		return
	}
	w.ask(r, func(ctx context.Context) error { return r.product.Drain(ctx, namespace, d.name) }, func(c *call, err error) {
		if err == nil || errors.Is(err, errImpatient) {
			for service, seen := range c.sights {
				if b := w.judge.book(service); b != nil {
					b.drained(seen.left(d.name))
				}
			}
		}
		then()
	})
}

// routes are those that the decision leaves.
func (s *sight) routes() *networkingv1.VirtualService {
	vs := observe.IstioIn(s.facts).VirtualService
	if w, moves := s.decision.Find(routing.Apply, routing.Routes); moves && vs != nil {
		return w.Object.(*networkingv1.VirtualService)
	}
	return vs
}

// left is the subset of a Deployment that the routes have left; empty where they have not.
func (s *sight) left(name string) string {
	vs := s.routes()
	if vs == nil {
		return ""
	}
	st, _ := mesh.ReadState(vs)
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

// precedes has the door asked about somebody's DestinationRule: clients are led past the subsets first. then is told
// whether they were.
func (w *world) precedes(before, after *networkingv1.DestinationRule, then func(asked bool)) {
	r := w.answering()
	switch {
	case r == nil:
		then(false)
		return
	case w.mutation.noPrecede:
		then(true)
		return
	}
	w.ask(r, func(ctx context.Context) error { return r.product.Precede(ctx, before, after) }, func(c *call, err error) {
		seen := c.sights[service]
		if err != nil || seen == nil || observe.IstioIn(seen.facts).VirtualService == nil {
			then(false)
			return
		}
		_, led := seen.facts.Bypassed(seen.routes(), settings)
		then(led)
	})
}
