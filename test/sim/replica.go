package sim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"grayscale.dev/grayscale/routing"
)

// replica is one process of grayscale: it answers at the door, watches, and, while it leads, decides and acts.
type replica struct {
	w     *world
	name  string
	born  int // how many processes this replica has been
	cache *cache
	clock time.Duration // how far its clock is ahead; one process keeps one clock, which never jumps
	seen  map[string]time.Duration
	keys  []*key // one for each Service

	alive, leading bool
	stopped        time.Duration // until when it stands still (SIGSTOP)
	crash          crash
	halt           halt
	refused        time.Duration // until when the API server answers it with errors
}

// key is what a process knows and does about one Service: a reconcile key.
type key struct {
	*replica
	service string
	since   [kinds]time.Duration // when the process saw the derived objects as they are; see routing.Facts.RoutesSince
	// others are the versions of the users' rules, othersSince when the process saw them so.
	others      string
	othersSince time.Duration
	vouched     [kinds]int64 // the versions of those that it wrote itself, in time, or has reckoned with
	echoes      map[echo]expected

	busy, again bool
	due         time.Duration // of the next look that is planned; 0 for none
	waiting     bool          // for something that it tries again
	waits       time.Duration // since when
}

// crash says that the process dies at one of its next writes.
type crash struct {
	in    int // writes from now; 0 for never
	after bool
}

// halt says that the process is stopped (SIGSTOP) right before one of its next writes.
type halt struct {
	in  int // writes from now; 0 for never
	how time.Duration
}

const (
	grayscaleLag = 40 * time.Millisecond
	shortest     = 10 * time.Millisecond // pauses, as the annotator has them
	longest      = 30 * time.Second
	echoLimit    = 2 * time.Second
)

// errMore: one of several writes of a step is done.
var errMore = errors.New("there is more to write")

// errNotYet: somebody else has to see what was written first.
var errNotYet = errors.New("not yet")

var errDead = errors.New("the process has died")

func newReplica(w *world, i int) *replica {
	r := &replica{w: w, name: fmt.Sprintf("grayscale-%d", i), clock: clocks[w.rng.IntN(len(clocks))]}
	if r.clock != 0 {
		w.note("the clock of %s is ahead by %s", r.name, r.clock)
	}
	r.start()
	return r
}

// clocks are how far a process's clock may be ahead of others'.
var clocks = []time.Duration{0, 0, 0, 300 * time.Millisecond, -300 * time.Millisecond, 10 * time.Second, -10 * time.Second, time.Hour, -time.Hour}

// start is a new process: it lists everything and knows nothing else.
func (r *replica) start() {
	r.born++
	r.alive, r.leading = true, false
	r.crash, r.halt, r.stopped = crash{}, halt{}, 0
	r.seen, r.keys = map[string]time.Duration{}, nil
	names := r.w.services
	if len(names) > 1 {
		names = append(slices.Clone(names), gone)
	}
	for _, name := range names {
		k := &key{replica: r, service: name, othersSince: r.w.now, echoes: map[echo]expected{}}
		k.since[virtualServices], k.since[destinationRules] = r.w.now, r.w.now
		r.keys = append(r.keys, k)
	}
	r.cache = r.w.subscribe(grayscaleLag, r.changed, deployments, pods, services, virtualServices, destinationRules)
	for _, o := range r.cache.tables[pods] {
		r.seen[o.id().name] = r.w.now
	}
}

func (r *replica) die() {
	if r.alive {
		r.w.note("%s dies", r.name)
		led := r.leading
		r.alive, r.leading = false, false
		r.born++
		r.cache.stop(r.w.api)
		r.w.died(r, led)
	}
}

func (r *replica) lead() {
	if r.alive && !r.leading {
		r.w.note("%s leads", r.name)
		r.w.lastFault = max(r.w.lastFault, r.w.now)
		r.leading = true
		for _, k := range r.keys {
			k.again, k.due = false, 0
			k.look(time.Millisecond)
		}
	}
}

func (r *replica) now() time.Time { return begin.Add(r.w.now + r.clock) }

// changed is every watch's handler: it notes when a pod was first seen ready as its version, by the process's own clock.
func (r *replica) changed(before, after object) {
	if p, ok := after.(*pod); ok {
		if was, known := before.(*pod); !p.serves() || !known || was.label != p.label || !was.serves() {
			r.seen[p.name] = r.w.now
		}
	} else if p, ok := before.(*pod); ok && after == nil {
		delete(r.seen, p.name)
	}
	for _, k := range r.keys {
		if k.busy {
			k.again = true
		}
		k.look(r.w.between(time.Millisecond, 3*time.Millisecond))
	}
}

// key is that of a Service.
func (r *replica) key(service string) *key {
	for _, k := range r.keys {
		if k.service == service {
			return k
		}
	}
	return nil
}

// lookAll has every Service looked at.
func (r *replica) lookAll(wait time.Duration) {
	for _, k := range r.keys {
		k.look(wait)
	}
}

// look plans a look, unless an earlier one is planned.
func (r *key) look(wait time.Duration) {
	at := r.w.now + wait
	if !r.alive || !r.leading || r.busy || r.due != 0 && r.due <= at {
		return
	}
	r.due = at
	r.then(wait, func() {
		if r.due == at {
			r.due = 0
			r.reconcile()
		}
	})
}

// then does something later in this process, when it does not stand still.
func (r *replica) then(wait time.Duration, do func()) {
	born := r.born
	r.w.after(wait, func() {
		switch {
		case r.born != born:
		case r.w.now < r.stopped:
			r.w.at(r.stopped, func() { r.then(0, do) })
		default:
			do()
		}
	})
}

// reconcile is observe, decide, act.
func (r *key) reconcile() {
	if !r.leading || r.busy {
		return
	}
	if r.missesEchoes() {
		r.retry()
		return
	}
	r.busy, r.again = true, false
	facts, view := r.observe()
	d := routing.Decide(r.w.mutation.see(facts), r.w.mutation.set(settings))
	d = r.w.mutation.decide(facts, d)
	r.act(newHands(r, facts, d, view), r.w.mutation.order(d.Steps()), d)
}

// act takes one step after the other, each a moment after the one before, and stops at the first error.
func (r *key) act(h *hands, steps []routing.Step, d routing.Decision) {
	if len(steps) == 0 {
		r.waiting, r.busy = false, false
		if d.After > 0 {
			r.look(d.After)
		}
		if r.again {
			r.look(time.Millisecond)
		}
		return
	}
	r.then(r.w.between(time.Millisecond, 12*time.Millisecond), func() {
		if r.halts() {
			r.act(h, steps, d)
			return
		}
		err := steps[0](h)
		switch {
		case errors.Is(err, errDead):
		case errors.Is(err, errMore):
			r.act(h, steps, d)
		case err != nil:
			r.w.note("%s: %v", r.name, err)
			r.busy = false
			r.retry()
			if r.again {
				r.look(time.Millisecond)
			}
		default:
			r.act(h, steps[1:], d)
		}
	})
}

// halts: the process is stopped now, before its next write.
func (r *replica) halts() bool {
	if r.halt.in == 0 {
		return false
	}
	if r.halt.in--; r.halt.in > 0 {
		return false
	}
	r.w.note("%s is stopped before a write", r.name)
	r.w.lastFault = max(r.w.lastFault, r.w.now+r.halt.how)
	r.stand(r.halt.how)
	return true
}

// retry comes back after a pause that grows with the wait; an event comes before it.
func (r *key) retry() {
	if !r.waiting {
		r.waiting, r.waits = true, r.w.now
	}
	r.look(min(max(shortest, r.w.now-r.waits), longest))
}

// echo and expected are annotator's: what was written is waited for in the cache, for a while.
type echo struct {
	kind kind
	name string
}

type expected struct {
	version, removed int64
	until            time.Duration
}

func (r *key) missesEchoes() bool {
	for what, x := range r.echoes {
		o := find(r.cache.tables[what.kind], what.name)
		gone := x.removed != 0 && (o == nil || o.id().uid != x.removed)
		if gone || x.removed == 0 && o != nil && o.id().version >= x.version || r.w.now > x.until {
			delete(r.echoes, what)
		}
	}
	return len(r.echoes) > 0
}
