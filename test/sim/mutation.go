package sim

import (
	"context"
	"errors"
	"slices"
	"time"

	"istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

// mutation breaks one safety rule on purpose, by showing the engine other facts or by changing what it decided. The
// zero mutation breaks nothing.
type mutation struct {
	name     string
	rule     string // what it breaks, as the README tells it
	acts     uint64 // the seed whose acts are played at every seed's times, where few seeds have the acts that it takes
	settings func(*routing.Settings)
	facts    func(*routing.Facts)
	decision func(routing.Facts, *routing.Decision)

	unlocked    bool                // writes do not rest on a resourceVersion
	answer      func(client.Object) // changes what the API server answers
	unconfirmed bool                // nothing is read past the cache
	late        bool                // what was confirmed is taken to hold for ever
	noPrecede   bool                // nobody waits with a rule of somebody else's
	noHold      bool
	noDrain     bool // an end does not wait for its traffic to go
	oneLook     bool // nor does it look again, once it has waited, whether the traffic has come back
	scaling     bool // lifting a hold writes spec.replicas
}

func (m mutation) set(s routing.Settings) routing.Settings {
	if m.settings != nil {
		m.settings(&s)
	}
	return s
}

func (m mutation) see(f routing.Facts) routing.Facts {
	if m.facts != nil {
		f.Deployments = slices.Clone(f.Deployments)
		m.facts(&f)
	}
	return f
}

func (m mutation) decide(f routing.Facts, d routing.Decision) routing.Decision {
	if m.decision != nil {
		m.decision(f, &d)
	}
	return d
}

// lock is the version that a write is bound to; 0 for none.
func (m mutation) lock(version int64) int64 {
	if m.unlocked {
		return 0
	}
	return version
}

func (m mutation) answers(o client.Object) {
	if m.answer != nil {
		m.answer(o)
	}
}

func (m mutation) patch(k kind, p *mergePatch) {
	if m.scaling && k == deployments && string(p.Spec.Paused) == "null" {
		p.Spec.Replicas = ptr.To(int32(9))
	}
}

// errImpatient ends a question of the API server's early.
var errImpatient = errors.New("a mutation waits no longer")

// waits is before and after a sleep of the product.
func (m mutation) waits(c *call, after bool) error {
	if s := c.sight; s == nil || len(s.facts.Leaving) == 0 || s.left(s.facts.Leaving[0]) == "" {
		return nil // the traffic has not been moved
	}
	if m.noDrain || m.oneLook && after {
		return errImpatient
	}
	return nil
}

type withTimeout func(context.Context, time.Duration) (context.Context, context.CancelFunc)

func (m mutation) timeout(with withTimeout) withTimeout {
	if m.late {
		return func(ctx context.Context, _ time.Duration) (context.Context, context.CancelFunc) {
			return ctx, func() {}
		}
	}
	return with
}

const longAgo = time.Hour

// mutations are all of them; TestMutations shows that the oracles see each.
var mutations = []mutation{
	{name: "no-settle", rule: "a write is given time to reach every Envoy before the next depends on it",
		settings: func(s *routing.Settings) { s.Settle = 0 }},
	{name: "vs-before-dr", rule: "the steps of a decision are made in their order",
		decision: lastFirst},
	{name: "route-at-once", rule: "a subset settles before routes refer to it",
		facts: ageSubsets},
	{name: "shrink-early", rule: "a subset goes only after its routes have been gone for long enough",
		facts: ageState},
	{name: "unmarked", rule: "a subset is marked as going before it goes, and is not referred to then",
		acts: 724879, decision: unmarked},
	{name: "unseen-end", rule: "a rule is marked as without routes once the API server has none, not the cache alone",
		acts: 1367963, decision: unseenEnd},
	{name: "delete-both", rule: "the VirtualService goes first, and the DestinationRule once that has settled",
		decision: func(f routing.Facts, d *routing.Decision) {
			_, goes := d.Find(routing.Delete, routing.Routes)
			if dr := observe.IstioIn(f).DestinationRule; goes && dr != nil {
				d.Writes = append(d.Writes, routing.Write{Verb: routing.Delete, Part: routing.Subsets, Object: dr})
			}
		}},
	{name: "route-to-unready", rule: "a version without ready pods gets no traffic",
		facts: eachPods(func(p *release.Pods) { p.Ready = p.Total })},
	{name: "route-to-new-pods", rule: "a version gets traffic once its first endpoint has reached every Envoy",
		facts: eachPods(func(p *release.Pods) { p.Since = time.Time{} })},
	{name: "lift-before-pin", rule: "a hold lasts until its Service is pinned",
		decision: func(f routing.Facts, d *routing.Decision) {
			drop(d, routing.Lift, "")
			for _, x := range f.Deployments {
				if x.IsHeld() {
					d.Writes = append(d.Writes, routing.Write{Verb: routing.Lift, Member: release.Member{Deployment: x.Name}})
				}
			}
		}},
	{name: "lift-at-first-pin", rule: "a hold lasts until every Service that selects the candidate's pods is pinned",
		decision: func(f routing.Facts, d *routing.Decision) {
			f.Beside = nil
			drop(d, routing.Lift, "")
			for _, w := range routing.MakePlan(f, settings).Writes {
				if w.Verb == routing.Lift {
					d.Writes = append(d.Writes, w)
				}
			}
		}},
	{name: "no-hold", rule: "a candidate is created without pods where its Service is not pinned", noHold: true},
	{name: "never-lift", rule: "every hold ends",
		decision: func(_ routing.Facts, d *routing.Decision) { drop(d, routing.Lift, "") }},
	{name: "no-label", rule: "pods that lack the version label get it",
		decision: func(_ routing.Facts, d *routing.Decision) {
			drop(d, routing.Label, "")
			drop(d, routing.LabelPods, "")
		}},
	{name: "unpaused-adoption", rule: "an adoption pauses the Deployment before it labels the ReplicaSet",
		answer: func(o client.Object) {
			if d, ok := o.(*appsv1.Deployment); ok {
				d.Spec.Paused, d.Status.ObservedGeneration = true, d.Generation
			}
		}},
	{name: "unseen-sets", rule: "an adoption labels the template once the ReplicaSet's label has been seen",
		answer: func(o client.Object) {
			if s, ok := o.(*appsv1.ReplicaSet); ok {
				s.Status.ObservedGeneration = s.Generation
			}
		}},
	{name: "undo-adoption", rule: "an adoption that has begun is finished", acts: 100786, decision: undo},
	{name: "ignore-resource-version", rule: "what was decided from a stale copy is refused", unlocked: true},
	{name: "unconfirmed", rule: "what rests on the other derived object is not written from a stale copy of that",
		unconfirmed: true},
	{name: "late", rule: "what was confirmed does not hold for long", late: true},
	{name: "old-clock", rule: "times that another process's clock told do not count",
		facts: func(f *routing.Facts) { f.RoutesSince, f.RuleSince = time.Time{}, time.Time{} }},
	{name: "any-age", rule: "Deployments older than those that the routes were made from decide nothing",
		facts: func(f *routing.Facts) { f.Seen = "" }},
	{name: "forget-state", rule: "what a release must remember is kept with the routes",
		facts: func(f *routing.Facts) {
			if m := observe.IstioIn(*f); m.VirtualService != nil {
				st, _ := mesh.ReadState(m.VirtualService)
				st.Candidates = nil
				remember(f, st)
			}
		}},
	{name: "no-restore", rule: "routes that somebody edited are put back",
		decision: func(_ routing.Facts, d *routing.Decision) {
			if slices.ContainsFunc(d.Events, func(e routing.Event) bool { return e.Reason == "RoutesRestored" }) {
				drop(d, routing.Apply, routing.Routes)
			}
		}},
	{name: "stale-conditions", rule: "conditions say what has become of the annotations",
		decision: func(_ routing.Facts, d *routing.Decision) { d.Status = nil }},
	{name: "leave-rule", rule: "a release leaves no trace",
		decision: func(_ routing.Facts, d *routing.Decision) { drop(d, routing.Delete, routing.Subsets) }},
	{name: "no-drain", rule: "a deletion waits until its traffic has gone", noDrain: true},
	{name: "one-look", rule: "a deletion waits again where its traffic has come back meanwhile",
		acts: 6115409, oneLook: true},
	{name: "no-precede", rule: "a rule that takes subsets from clients waits until these are led past them",
		noPrecede: true},
	{name: "no-bypass", rule: "clients whose proxies lack the subsets are led past these",
		decision: func(_ routing.Facts, d *routing.Decision) {
			if w, ok := d.Find(routing.Apply, routing.Routes); ok {
				withoutBypass(w.Object.(*networkingv1.VirtualService))
			}
		}},
	{name: "bypass-ends-early", rule: "clients are led past the subsets until every Envoy knows these again",
		facts: endBypasses},
	{name: "scale", rule: "spec.replicas is never written", scaling: true},
}

// undo has adoptions that nobody wants any more ended without a label, as while grayscale is being uninstalled.
func undo(_ routing.Facts, d *routing.Decision) {
	d.Writes = slices.Clone(d.Writes)
	for i := range d.Writes {
		if d.Writes[i].Verb == routing.Lift {
			d.Writes[i].Member.Version = ""
		}
	}
}

// lastFirst leaves of a decision what would come last: what comes before it is decided again.
func lastFirst(_ routing.Facts, d *routing.Decision) {
	switch {
	case len(d.Status) > 0:
		d.Writes, d.Annotate = nil, nil
	case len(d.Annotate) > 0:
		d.Writes = nil
	case len(d.Writes) > 0:
		d.Writes = d.Writes[len(d.Writes)-1:]
	}
}

// drop takes the writes of a kind out of a decision; part is empty where they are about no derived object.
func drop(d *routing.Decision, verb routing.Verb, part routing.Part) {
	d.Writes = slices.DeleteFunc(slices.Clone(d.Writes), func(w routing.Write) bool {
		return w.Verb == verb && w.Part == part
	})
}

// remember has the routes of the facts remember a state.
func remember(f *routing.Facts, st release.State) {
	m := observe.IstioIn(*f)
	m.VirtualService = m.VirtualService.DeepCopy()
	mesh.Remember(m.VirtualService, st)
	f.Mesh = m
}

// ageSubsets has every subset look as if it had been there for long.
func ageSubsets(f *routing.Facts) {
	dr := observe.IstioIn(*f).DestinationRule
	if dr == nil {
		return
	}
	if _, ok := mesh.ReadSubsets(dr); !ok {
		return
	}
	f.RoutesSince, f.RuleSince = time.Time{}, time.Time{}
	eachTime(f, func(sub *release.Subsets) map[string]time.Time { return sub.Added })
}

// eachTime has some times that the rule tells look as if they had been long ago.
func eachTime(f *routing.Facts, of func(*release.Subsets) map[string]time.Time) {
	m := observe.IstioIn(*f)
	sub, _ := mesh.ReadSubsets(m.DestinationRule)
	times := of(&sub)
	for v, t := range times {
		times[v] = t.Add(-longAgo)
	}
	m.DestinationRule = m.DestinationRule.DeepCopy()
	mesh.Remember(m.DestinationRule, sub)
	f.Mesh = m
}

// ageState has all that routes have left look as if that had been long ago.
func ageState(f *routing.Facts) {
	m := observe.IstioIn(*f)
	if m.VirtualService == nil {
		return
	}
	st, ok := mesh.ReadState(m.VirtualService)
	if !ok {
		return
	}
	for v, t := range st.Left {
		st.Left[v] = t.Add(-longAgo)
	}
	st.PinnedAt = st.PinnedAt.Add(-longAgo)
	if m.DestinationRule != nil {
		eachTime(f, func(sub *release.Subsets) map[string]time.Time { return sub.Going })
	}
	f.RoutesSince, f.RuleSince = time.Time{}, time.Time{}
	remember(f, st)
}

// withoutBypass takes the routes to the whole Service away.
func withoutBypass(vs *networkingv1.VirtualService) {
	whole := func(d *v1alpha3.Destination) bool { return d.GetSubset() == "" }
	vs.Spec.Http = slices.DeleteFunc(vs.Spec.Http, func(r *v1alpha3.HTTPRoute) bool {
		return whole(r.Route[0].Destination)
	})
	vs.Spec.Tcp = slices.DeleteFunc(vs.Spec.Tcp, func(r *v1alpha3.TCPRoute) bool { return whole(r.Route[0].Destination) })
}

// endBypasses has every rule that went look as if it had gone long ago.
func endBypasses(f *routing.Facts) {
	vs := observe.IstioIn(*f).VirtualService
	if vs == nil {
		return
	}
	st, ok := mesh.ReadState(vs)
	if !ok || len(st.Bypasses) == 0 {
		return
	}
	for i := range st.Bypasses {
		if b := &st.Bypasses[i]; !b.Gone.IsZero() {
			b.Gone = b.Gone.Add(-longAgo)
		}
	}
	f.RoutesSince = time.Time{}
	remember(f, st)
}

// unmarked has a subset look as if it had been marked for long wherever it would be marked now.
func unmarked(f routing.Facts, d *routing.Decision) {
	w, ok := d.Find(routing.Apply, routing.Subsets)
	if m := observe.IstioIn(f); !ok || m.VirtualService == nil || m.DestinationRule == nil {
		return
	}
	will, _ := mesh.ReadSubsets(w.Object)
	eachTime(&f, func(sub *release.Subsets) map[string]time.Time {
		if sub.Going == nil {
			sub.Going = map[string]time.Time{}
		}
		for v := range will.Going {
			sub.Going[v] = will.Added[v]
		}
		return sub.Going
	})
	*d = routing.Decide(f, settings)
}

// unseenEnd has the rule marked by what the cache says.
func unseenEnd(f routing.Facts, d *routing.Decision) {
	m := observe.IstioIn(f)
	for i, w := range d.Writes {
		if m.VirtualService == nil && m.DestinationRule != nil && w.Verb == routing.Apply && w.Part == routing.Subsets {
			if sub, _ := mesh.ReadSubsets(w.Object); len(sub.Going) > 0 {
				d.Writes[i].RestsOn = routing.Basis{}
			}
		}
	}
}

func eachPods(change func(*release.Pods)) func(*routing.Facts) {
	return func(f *routing.Facts) {
		for i := range f.Deployments {
			f.Deployments[i].Pods = slices.Clone(f.Deployments[i].Pods)
			for k := range f.Deployments[i].Pods {
				change(&f.Deployments[i].Pods[k])
			}
		}
	}
}
