package routing

import (
	"slices"
	"time"

	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

// Verb says what a Write does.
type Verb string

const (
	// Apply creates or replaces the whole Object. It is bound to the resourceVersion that the Object carries, so that what
	// was decided from a stale cache is refused; an Object without one is to be created.
	Apply Verb = "Apply"
	// Delete removes the Object that was decided from, and no later version of it.
	Delete Verb = "Delete"
	// LabelPods gives the label back to the pods of a Deployment that had it and lost it. Its rollout, which takes the
	// pods that have the label, goes on until Label has stopped it.
	LabelPods Verb = "LabelPods"
	// Label gives a Deployment's pods, ReplicaSets and template the version label without a restart.
	Label Verb = "Label"
	// Lift ends a Deployment's hold: spec.paused and the annotation grayscale.dev/held are removed. An adoption that has
	// begun is finished first, with the Member's version.
	Lift Verb = "Lift"
)

// Part says which of the derived objects one is.
type Part string

const (
	// Routes is the object that holds our routes.
	Routes Part = "Routes"
	// Subsets is the object that holds our subsets.
	Subsets Part = "Subsets"
)

// Write is one write of a Plan.
type Write struct {
	Verb Verb `json:"verb"`
	// Part and Object are what Apply and Delete are about.
	Part   Part        `json:"part,omitempty"`
	Object mesh.Object `json:"object,omitempty"`
	// Member is the Deployment that the other verbs are about; its Version is the label to give.
	Member release.Member `json:"member,omitzero"`
	// RestsOn is what the write relies on beside the object that it changes.
	RestsOn Basis `json:"restsOn,omitzero"`
}

// Basis is what a write relies on: objects that have to be those of Facts when they are read past the caches.
type Basis struct {
	// Routes and Subsets are the derived objects that hold our routes and our subsets.
	Routes  bool `json:"routes,omitempty"`
	Subsets bool `json:"subsets,omitempty"`
	// OtherRules are the objects of others that hold subsets, in the namespaces of the Service, of the bypasses, and in
	// the root.
	OtherRules bool `json:"otherRules,omitempty"`
	// Beside are those of Facts.Beside, by their Services' names, whose routes are meant as well.
	Beside []string `json:"beside,omitempty"`
}

// IsZero reports whether it names nothing.
func (b Basis) IsZero() bool { return !b.Routes && !b.Subsets && !b.OtherRules && len(b.Beside) == 0 }

// and is what either relies on.
func (b Basis) and(o Basis) Basis {
	beside := slices.Compact(slices.Sorted(slices.Values(slices.Concat(b.Beside, o.Beside))))
	return Basis{b.Routes || o.Routes, b.Subsets || o.Subsets, b.OtherRules || o.OtherRules, beside}
}

// Plan is what to do now for one Service. Doing it twice is doing it once.
type Plan struct {
	// Writes are made in this order, the only one that keeps every request served. An error stops the plan before the
	// next write: none is safe without those before it.
	Writes []Write `json:"writes,omitempty"`
	// After is when to decide again even if nothing changes; zero means only when something changes.
	After time.Duration `json:"after,omitempty"`

	own *routePlan   // nil where the facts are too old to decide from
	all []*routePlan // own, then those of the Services beside, of which nothing is written
}

// MakePlan is the whole engine: the next safe step for one Service, computed from what exists. Making the writes that
// it returns, one after the other, always ends with a Plan that has none; a crash between two of them is just another
// Facts.
func MakePlan(f Facts, s Settings) Plan {
	x := read(f, s)
	if x.stale {
		return Plan{After: s.Settle} // the watch brings what is missing, and an event with it
	}
	p := Plan{own: planRoutes(x)}
	p.all = []*routePlan{p.own}
	for _, b := range x.beside {
		p.all = append(p.all, planRoutes(b))
	}
	lifts := p.lifts()
	p.After = p.own.after
	p.Writes = slices.Concat(p.own.writes(), lifts)
	return p
}

// RestsOn is what the writes together rely on: it is read past the caches before the first of them. That holds for half
// of Settings.Settle, and a write of a derived object that would be made later is given up.
func (p Plan) RestsOn() Basis {
	var out Basis
	for _, w := range p.Writes {
		out = out.and(w.RestsOn)
	}
	return out
}

// Find is the write of a derived object; false where the plan does nothing of that kind to it.
func (p Plan) Find(verb Verb, part Part) (Write, bool) {
	for _, w := range p.Writes {
		if w.Verb == verb && w.Part == part {
			return w, true
		}
	}
	return Write{}, false
}

// writes are those of the derived objects, and the labels. The mesh says what an object rests on. A bypass ends where
// the users' rules let it; and subsets that are all marked as going because there are no routes rest on that: by the
// time they go, there may be some again.
func (p *routePlan) writes() []Write {
	var out []Write
	if w := p.subsetsWrite; w != nil {
		rests := Basis{Routes: w.RestsOnDerived || !p.pinned && p.over(), OtherRules: w.RestsOnOthers}
		out = append(out, Write{Verb: Apply, Part: Subsets, Object: w.Object, RestsOn: rests})
	}
	if w := p.routesWrite; w != nil {
		rests := Basis{Subsets: w.RestsOnDerived, OtherRules: w.RestsOnOthers || p.bypassEnds}
		out = append(out, Write{Verb: Apply, Part: Routes, Object: w.Object, RestsOn: rests})
	}
	if p.deleteRoutes {
		out = append(out, Write{Verb: Delete, Part: Routes, Object: p.routes.Object})
	}
	if p.deleteSubsets {
		out = append(out, Write{Verb: Delete, Part: Subsets, Object: p.rule.Object, RestsOn: Basis{Routes: true}})
	}
	for _, m := range p.label {
		out = append(out, Write{Verb: LabelPods, Member: m})
	}
	for _, m := range p.label { // which waits for others, so that one Deployment would keep the next one's pods waiting
		out = append(out, Write{Verb: Label, Member: m})
	}
	return out
}

// lifts end the holds of candidates whose pods are shielded, those that the owner gave up with the strategy, and
// adoptions that were cut short and that nobody wants any more.
func (p Plan) lifts() []Write {
	var out []Write
	for _, v := range p.own.versions {
		lift := Write{Verb: Lift, Member: v.Member(), RestsOn: Basis{Routes: p.own.pinned}}
		switch {
		case v.Placed.Author != p.own.service():
		case v.IsHeld() && !v.IsCandidate(), v.IsBeingAdopted() && !p.adopts(v):
			out = append(out, lift)
		case v.IsHeld():
			if beside, ok := p.shielded(v); ok {
				lift.RestsOn.Beside = beside
				out = append(out, lift)
			}
		}
	}
	return out
}

// adopts: the Deployment is to be labelled, by one of its Services.
func (p Plan) adopts(v *release.Version) bool {
	return slices.ContainsFunc(inOrder(v, p.all), func(o *routePlan) bool {
		return slices.ContainsFunc(o.label, func(m release.Member) bool { return m.Deployment == v.Name })
	})
}

// shielded: every Service that selects the Deployment's pods sends them what they ask for and no more. The names are
// those of Services beside whose routes that rests on.
func (p Plan) shielded(v *release.Version) (beside []string, all bool) {
	parts := inOrder(v, p.all)
	all = len(parts) > 0
	for _, o := range parts {
		ok, left := o.shields(v.Name)
		if all = all && ok; !ok {
			p.own.wait(left)
		}
		if o != p.own && o.pinned {
			beside = append(beside, o.service())
		}
	}
	return beside, all
}
