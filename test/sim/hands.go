package sim

import (
	"errors"
	"maps"
	"slices"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
)

var errServer = errors.New("the API server answers with an error")

// hands are routing.Hands as the annotator has them: each write rests on the version that was seen, or that was left by
// the write before.
type hands struct {
	r        *key
	facts    routing.Facts
	decided  routing.Decision
	view     view
	known    map[string]int64 // Deployments' versions
	unpaused map[string]bool
	// confirmed is when the derived objects were read past the cache; negative where that was not asked for.
	confirmed time.Duration
}

func newHands(r *key, facts routing.Facts, d routing.Decision, v view) *hands {
	h := &hands{r: r, facts: facts, decided: d, view: v, known: map[string]int64{}, unpaused: map[string]bool{}, confirmed: -1}
	for _, x := range v.deployments {
		h.known[x.name] = x.version
	}
	return h
}

// write makes one write, unless the process dies at it or the API server does not answer.
func (h *hands) write(do func(a *api, by string) error) error {
	r := h.r
	if r.crash.in > 0 {
		if r.crash.in--; r.crash.in == 0 {
			if r.crash.after {
				r.w.judge.deciding = h
				_ = do(r.w.api, r.name)
				r.w.judge.deciding = nil
			}
			r.die()
			return errDead
		}
	}
	if r.w.now < r.refused {
		return errServer
	}
	r.w.judge.deciding = h
	err := do(r.w.api, r.name)
	r.w.judge.deciding = nil
	return err
}

func (h *hands) wrote(o object) {
	id := o.id()
	h.r.echoes[echo{id.kind, id.name}] = expected{version: id.version, until: h.r.w.now + echoLimit}
	if id.kind == deployments {
		h.known[id.name] = id.version
	}
}

func (h *hands) removed(o object) {
	h.r.echoes[echo{o.id().kind, o.id().name}] = expected{removed: o.id().uid, until: h.r.w.now + echoLimit}
}

// at is the version that a write rests on.
func (h *hands) at(version int64) int64 {
	if h.r.w.mutation.unlocked {
		return 0
	}
	return version
}

// late: what was confirmed may not hold any more.
func (h *hands) late() bool {
	return h.confirmed >= 0 && h.r.w.now-h.confirmed > settings.Settle/2 && !h.r.w.mutation.late
}

func (h *hands) put(o, current object) error {
	if h.late() {
		return errNotYet
	}
	err := h.write(func(a *api, by string) error {
		if current == nil {
			return a.create(by, o)
		}
		return a.update(by, o, h.at(current.id().version))
	})
	if err == nil {
		h.wrote(o)
		if h.r.now().Sub(h.facts.Now) < inTime {
			h.r.vouched[o.id().kind] = o.id().version
		}
	}
	return err
}

// inTime is how long after the decision a write may be made for the times in it to count.
const inTime = 200 * time.Millisecond

// Confirm reads past the cache.
func (h *hands) Confirm(which routing.Derived) error {
	if h.r.w.mutation.unconfirmed {
		return nil
	}
	a := h.r.w.api
	vs, routed := get[*virtualService](a.list(virtualServices), istio.Name(h.r.service))
	dr, ruled := get[*destinationRule](a.list(destinationRules), istio.Name(h.r.service))
	seen, rule := h.view.virtualService, h.view.destinationRule
	if which.VirtualService && (routed != (seen != nil) || routed && vs.version != seen.version) ||
		which.DestinationRule && (ruled != (rule != nil) || ruled && dr.version != rule.version) {
		return errConflict
	}
	for _, other := range which.Beside {
		vs, routed := get[*virtualService](a.list(virtualServices), istio.Name(other))
		if seen := h.view.beside[other]; routed != (seen != nil) || routed && vs.version != seen.version {
			return errConflict
		}
	}
	if which.OtherRules && !slices.Equal(versionsOf(liveRules(a)), versionsOf(h.facts.OtherDestinationRules)) {
		return errNotYet
	}
	h.confirmed = h.r.w.now
	return nil
}

func liveRules(a *api) []*networkingv1.DestinationRule {
	var out []*networkingv1.DestinationRule
	for _, o := range a.list(destinationRules) {
		if dr := o.(*destinationRule); !derived(dr.name) {
			out = append(out, dr.spec)
		}
	}
	return out
}

func versionsOf(list []*networkingv1.DestinationRule) []string {
	var out []string
	for _, dr := range list {
		out = append(out, dr.ResourceVersion)
	}
	slices.Sort(out)
	return out
}

// ApplyDestinationRule writes the whole rule.
func (h *hands) ApplyDestinationRule(dr *networkingv1.DestinationRule) error {
	next := &destinationRule{identity: identity{kind: destinationRules, name: dr.Name}, spec: dr.DeepCopy()}
	if current := h.view.destinationRule; current != nil {
		next.identity = current.identity
		return h.put(next, current)
	}
	return h.put(next, nil)
}

// ApplyVirtualService writes the whole VirtualService.
func (h *hands) ApplyVirtualService(vs *networkingv1.VirtualService) error {
	next := &virtualService{identity: identity{kind: virtualServices, name: vs.Name}, spec: vs.DeepCopy()}
	if current := h.view.virtualService; current != nil {
		next.identity = current.identity
		return h.put(next, current)
	}
	return h.put(next, nil)
}

// DeleteVirtualService removes the VirtualService that was seen.
func (h *hands) DeleteVirtualService() error { return h.remove(h.view.virtualService) }

// DeleteDestinationRule removes the rule that was seen.
func (h *hands) DeleteDestinationRule() error {
	if dr := h.view.destinationRule; dr != nil {
		return h.remove(dr)
	}
	return nil
}

func (h *hands) remove(o object) error {
	if h.late() {
		return errNotYet
	}
	id := o.id()
	err := h.write(func(a *api, by string) error { return a.remove(by, id.kind, id.name, h.at(id.version)) })
	if err == nil || errors.Is(err, errNotFound) {
		h.removed(o)
		return nil
	}
	return err
}

// patch changes a Deployment. Where only what nobody decides from has changed meanwhile, it takes the newer version.
func (h *hands) patch(name string, change func(*deployment)) error {
	live, ok := get[*deployment](h.r.w.api.list(deployments), name)
	if h.known[name] == 0 || !ok {
		return nil
	}
	at := h.known[name]
	seen := h.seen(name)
	if seen != nil && live.version != at && seen.uid == live.uid && seen.paused == live.paused && seen.deleting == live.deleting &&
		maps.Equal(seen.annotations, live.annotations) {
		at = live.version
	}
	next := live.copy()
	change(next)
	err := h.write(func(a *api, by string) error { return a.update(by, next, h.at(at)) })
	if err == nil {
		h.wrote(next)
	}
	return err
}

func (h *hands) seen(name string) *deployment {
	for _, d := range h.view.deployments {
		if d.name == name {
			return d
		}
	}
	return nil
}

// Lift ends a hold; one of an adoption that has labelled the ReplicaSet already ends with the label.
func (h *hands) Lift(name string) error {
	d := h.seen(name)
	switch {
	case d == nil || h.unpaused[name]:
		return nil
	case d.annotations[intent.KeyHeld] == adopting:
		return h.endAdoption(name)
	}
	return h.patch(name, func(next *deployment) {
		next.annotate(intent.KeyHeld, nil, routing.FieldManager)
		next.pause(false)
		h.r.w.mutation.lifting(next)
	})
}

// Annotate writes annotations of ours.
func (h *hands) Annotate(name string, changes map[string]*string) error {
	return h.patch(name, func(next *deployment) {
		for k, v := range changes {
			next.annotate(k, v, routing.FieldManager)
		}
	})
}

// Status applies the conditions, bound to the Deployment but not to its version.
func (h *hands) Status(s routing.Status) error {
	seen := h.seen(s.Deployment)
	if seen == nil {
		return nil
	}
	live, ok := get[*deployment](h.r.w.api.list(deployments), s.Deployment)
	if !ok || live.uid != seen.uid {
		return errConflict
	}
	next := live.copy()
	next.conditions = append([]release.Condition(nil), s.Conditions...)
	err := h.write(func(a *api, by string) error { return a.update(by, next, live.version) })
	if err == nil {
		h.wrote(next)
	}
	return err
}

// annotate sets or removes an annotation; it counts as a change of the generation, as it does for Deployments.
func (d *deployment) annotate(key string, value *string, by string) {
	old, had := d.annotations[key]
	before, problems := intent.Parse("", d.annotations)
	if value == nil && !had || value != nil && had && old == *value && d.setBy[key] == by {
		return
	}
	if d.annotations == nil {
		d.annotations = map[string]string{}
	}
	if d.setBy == nil {
		d.setBy = map[string]string{}
	}
	if value == nil {
		delete(d.annotations, key)
		delete(d.setBy, key)
	} else {
		d.annotations[key], d.setBy[key] = *value, by
	}
	if value == nil || !had || old != *value {
		d.generation++
		if after, now := intent.Parse("", d.annotations); after.Routes() != before.Routes() || intent.Usable(problems) != intent.Usable(now) {
			d.asked++
		}
	}
}

func (d *deployment) pause(paused bool) {
	if d.paused != paused {
		d.paused = paused
		d.generation++
	}
}
