package sim

import (
	"slices"
	"time"
)

// cache is what somebody knows: a copy of the API server's tables that lags behind, each kind by a watch of its own.
type cache struct {
	tables  [kinds][]object
	watches [kinds]*watch
}

// watch brings the changes of one kind, in order, late.
type watch struct {
	w       *world
	into    *cache
	kind    kind
	lag     time.Duration // the most that it lags
	version int64         // the latest that it has brought
	last    time.Duration // when the latest change that is on its way arrives
	pending []sent
	stalled time.Duration // until when it brings nothing
	stopped bool
	changed func(before, after object)
}

type sent struct {
	change
	at      time.Duration // when it was made
	version int64
}

// subscribe lists the kinds as they are and watches them from there.
func (w *world) subscribe(lag time.Duration, changed func(before, after object), list ...kind) *cache {
	c := &cache{}
	for _, k := range list {
		c.tables[k] = slices.Clone(w.api.tables[k])
		c.watches[k] = &watch{w: w, into: c, kind: k, lag: lag, changed: changed, version: w.api.version}
		w.api.watches = append(w.api.watches, c.watches[k])
	}
	return c
}

// stop ends all watches of a process that has died.
func (c *cache) stop(a *api) {
	for _, x := range c.watches {
		if x != nil {
			x.stopped = true
		}
	}
	a.watches = slices.DeleteFunc(a.watches, func(x *watch) bool { return x.into == c })
}

func (x *watch) tell(c change) {
	if c.object.id().kind != x.kind {
		return
	}
	x.pending = append(x.pending, sent{c, x.w.now, x.w.api.version})
	x.last = max(x.last, x.w.now+x.w.between(time.Millisecond, x.lag))
	x.w.at(x.last, x.deliver)
}

// deliver brings the oldest change; a stalled watch brings it when it goes on.
func (x *watch) deliver() {
	switch {
	case x.stopped || len(x.pending) == 0:
	case x.w.now < x.stalled:
		x.w.at(x.stalled, x.deliver)
	default:
		c := x.pending[0]
		x.pending = x.pending[1:]
		x.version = c.version
		x.apply(c.change)
	}
}

func (x *watch) apply(c change) {
	table, id := &x.into.tables[x.kind], c.object.id()
	i := slices.IndexFunc(*table, func(o object) bool { return o.id().name == id.name })
	var before object
	if i >= 0 {
		before = (*table)[i]
	}
	switch {
	case c.gone && i >= 0:
		*table = slices.Delete(*table, i, i+1)
		x.changed(before, nil)
	case c.gone:
	case i >= 0:
		(*table)[i] = c.object
		x.changed(before, c.object)
	default:
		*table = append(*table, c.object)
		x.changed(nil, c.object)
	}
}

// relist is what a client does after "410 Gone": it takes what there is now, and never hears of what happened in
// between.
func (x *watch) relist() {
	x.pending, x.stalled, x.version = nil, 0, x.w.api.version
	now := x.w.api.tables[x.kind]
	for _, o := range slices.Clone(x.into.tables[x.kind]) {
		if find(now, o.id().name) == nil {
			x.apply(change{object: o, gone: true})
		}
	}
	for _, o := range slices.Clone(now) {
		if known := find(x.into.tables[x.kind], o.id().name); known != o {
			x.apply(change{object: o})
		}
	}
}

// upTo is the instant up to which everything that happened is known.
func (x *watch) upTo() time.Duration {
	if len(x.pending) > 0 {
		return x.pending[0].at
	}
	return x.w.now
}
