package sim

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"time"

	"github.com/go-logr/logr"

	"grayscale.dev/grayscale/routing"
)

// call is one call into the product for as long as it lasts: a reconcile, or a question of the API server's. It runs
// as a coroutine: each request to the API server and each sleep hands control back to the queue of events, and goes
// on when its time has come. Exactly one of the simulator and the calls runs at any time, so that a seed gives the
// same run every time.
type call struct {
	*replica
	born   int
	worker *worker
	until  time.Duration // when the API server stops waiting; 0 for never
	over   error         // what every request meets from now on
	done   func(error)
	sights map[string]*sight // by Service: the last that was decided about each
	sight  *sight            // the last of all
}

// sight is what a decision was made from, for the judge.
type sight struct {
	replica     *replica
	service     string
	facts       routing.Facts
	decision    routing.Decision
	deployments []*deployment // of the facts, as the process knew them
	pods        time.Duration // up to when it knew what pods did
}

// worker is a coroutine that makes one call after the other.
type worker struct {
	next  func() (time.Duration, bool)
	stop  func()
	yield func(time.Duration) bool
	job   func()
}

// finished is what a worker yields after a call, instead of how long to wait.
const finished = time.Duration(-1)

var errDead = errors.New("the process has died")

func newWorker() *worker {
	k := &worker{}
	k.next, k.stop = iter.Pull(func(yield func(time.Duration) bool) {
		k.yield = yield
		for more := true; more; more = yield(finished) {
			k.job()
		}
	})
	return k
}

// call begins a call of this process. done is told its end, unless the process dies in a call that nobody waits for.
func (r *replica) call(until time.Duration, product func(context.Context) error, done func(error)) *call {
	c := &call{replica: r, born: r.born, until: until, done: done, sights: map[string]*sight{}}
	if n := len(r.w.idle); n > 0 {
		c.worker, r.w.idle = r.w.idle[n-1], r.w.idle[:n-1]
	} else {
		c.worker = newWorker()
		r.w.workers = append(r.w.workers, c.worker)
	}
	var err error
	c.done = func(error) { done(err) }
	c.worker.job = func() { err = product(callContext{c, until}) }
	r.calls = append(r.calls, c)
	c.resume()
	return c
}

// resume lets the call go on until it waits for something, or ends.
func (c *call) resume() {
	w := c.w
	before := w.running
	w.running = c
	wait, _ := c.worker.next()
	w.running = before
	if wait != finished {
		c.then(wait, c.resume)
		return
	}
	w.idle = append(w.idle, c.worker)
	c.forget(c)
	c.done(nil)
}

// forget drops a call that is over.
func (r *replica) forget(c *call) {
	for i := range r.calls {
		if r.calls[i] == c {
			r.calls = append(r.calls[:i], r.calls[i+1:]...)
			return
		}
	}
}

// pause hands control back for a while. It fails where the call is over.
func (c *call) pause(wait time.Duration) error {
	if c.over == nil && c.until > 0 {
		wait = min(wait, max(0, c.until-c.w.now))
	}
	if c.over == nil {
		c.worker.yield(wait)
	}
	if c.over == nil && c.until > 0 && c.w.now >= c.until {
		c.over = context.DeadlineExceeded
	}
	return c.over
}

// unwind ends the calls of processes that have died: what they still ask for fails.
func (w *world) unwind() {
	for len(w.dead) > 0 {
		c := w.dead[0]
		w.dead = w.dead[1:]
		c.resume()
	}
}

// callContext is the context of a call, whose deadline is in virtual time.
type callContext struct {
	call  *call
	until time.Duration // 0 for none
}

var _ context.Context = callContext{}

// Deadline tells nothing, for it is not in real time.
func (callContext) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done never closes: nobody waits for it but the sleeps of the product, which the simulator makes.
func (callContext) Done() <-chan struct{} { return nil }

// Err tells whether the call is over, or has taken too long.
func (c callContext) Err() error {
	switch {
	case c.call.over != nil:
		return c.call.over
	case c.until > 0 && c.call.w.now > c.until:
		return context.DeadlineExceeded
	}
	return nil
}

// Value keeps the product's log quiet.
func (callContext) Value(key any) any { return quiet.Value(key) }

var quiet = logr.NewContext(context.Background(), logr.Discard())

// sleep is the product's, in virtual time.
func (w *world) sleep(_ context.Context, wait time.Duration) error {
	c := w.running
	if err := w.mutation.waits(c, false); err != nil {
		return err
	}
	return cmp.Or(c.pause(wait), w.mutation.waits(c, true))
}

// withTimeout is context.WithTimeout, in virtual time.
func (w *world) withTimeout(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	c := ctx.(callContext)
	c.until = w.now + limit
	return c, func() {}
}
