// Package sim plays grayscale against a simulated cluster: an API server with resource versions and watches that lag,
// the controllers of Kubernetes that a release depends on, istiod, Envoys that apply clusters, endpoints and routes at
// different times, processes of grayscale that crash, stand still and disagree, and users. Time is virtual, one number
// gives the same run every time, and oracles look at every write and at every state of every Envoy.
//
// The product never imports it. What reads, decides and writes here is the product's own: annotator, observe, routing.
package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"grayscale.dev/grayscale/routing"
)

// The Services that releases happen behind, and the names around them.
const (
	namespace = "shop"
	service   = "reviews"
	second    = "reviews-internal" // in some plans: it has the same selector
	gone      = "gone"             // one that is named there, and never is
	app       = "reviews"
	domain    = "cluster.local"
)

// begin is the instant at which virtual time starts.
var begin = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// settings are what an administrator has chosen. What settle has to outlast here is in slowest.
var settings = routing.Settings{Settle: 2 * time.Second, ClusterDomain: domain, RootNamespace: "istio-system"}

// mostTime and mostSteps end a run that never comes to rest.
const (
	mostTime  = 2 * time.Hour
	mostSteps = 50_000
)

// world is one simulated cluster.
type world struct {
	rng      *rand.Rand
	now      time.Duration
	queue    queue
	steps    int
	mutation mutation
	services []string // those that releases happen behind

	api      *api
	workload *workload
	kubelet  *kubelet
	slicer   *slicer
	istiod   *istiod
	envoys   []*envoy
	replicas []*replica
	users    *users
	judge    *judge

	running *call // of the product, if it is one that goes on
	workers []*worker
	idle    []*worker
	dead    []*call // of processes that have died: they are to end

	foreignWrites int // of other people's DestinationRules

	webhookOff bool
	quiet      bool          // the last act is over: nobody but controllers does anything any more
	calm       time.Duration // when that was
	lastFault  time.Duration // when the last fault ends or ended
	tell       bool          // keep the story
	story      []string
	stored     []stored // all versions of all objects, as they were when they were stored
	failure    *Failure
}

// Failure is one broken promise.
type Failure struct {
	Oracle string        // a to e, as the README names them
	What   string        // one sentence
	At     time.Duration // virtual time
	Step   int           // how many steps the run had taken
}

func (f Failure) Error() string {
	return fmt.Sprintf("oracle (%s) at %s, step %d: %s", f.Oracle, f.At, f.Step, f.What)
}

// Run plays a plan to its end, and says how many steps that took and what went wrong first; nil where nothing did.
func Run(p Plan) (int, *Failure) {
	w := play(p, mutation{}, false)
	return w.steps, w.failure
}

func play(p Plan, m mutation, tell bool) *world {
	w := &world{rng: rand.New(rand.NewPCG(p.Seed, 1)), mutation: m, tell: tell, services: []string{service}}
	if p.Second {
		w.services = append(w.services, second)
	}
	w.judge = newJudge(w)
	w.api = &api{w: w, served: true}
	w.workload, w.kubelet, w.slicer, w.istiod = newWorkload(w), &kubelet{w: w}, newSlicer(w), newIstiod(w)
	for i := range p.Envoys {
		e := &envoy{w: w, name: fmt.Sprintf("envoy-%d", i), namespace: clientsNamespaces[i]}
		for _, name := range w.services {
			e.services = append(e.services, &outbound{service: name})
		}
		w.envoys = append(w.envoys, e)
	}
	w.users = &users{w: w, manifests: map[string]manifest{}}
	w.users.bystanders()
	for i := range p.Replicas {
		w.replicas = append(w.replicas, newReplica(w, i))
	}
	w.replicas[0].lead()
	for _, a := range p.Acts {
		w.at(a.At, func() { w.do(a) })
	}
	w.until(p.end())
	if w.failure == nil {
		w.rest()
	}
	w.stop()
	return w
}

// stop ends the coroutines.
func (w *world) stop() {
	for _, r := range w.replicas {
		for _, c := range r.calls {
			c.over = errDead
		}
	}
	for _, k := range w.workers {
		k.stop()
	}
}

// at runs something at a virtual time, which is never in the past.
func (w *world) at(t time.Duration, do func()) {
	w.queue.push(max(t, w.now), do)
}

func (w *world) after(d time.Duration, do func()) { w.at(w.now+d, do) }

// until takes steps up to a virtual time, or until something breaks.
func (w *world) until(t time.Duration) {
	for w.failure == nil && w.queue.next() <= t {
		w.step()
	}
	w.now = max(w.now, t)
}

func (w *world) step() {
	e := w.queue.pop()
	w.now = e.at
	w.steps++
	e.do()
	w.unwind()
}

// rest ends every fault and waits until nothing is left to do; then it looks at what is left.
func (w *world) rest() {
	w.quiet, w.calm = true, w.now
	w.note("every fault ends, and everybody waits")
	w.endFaults()
	w.drain()
	if w.failure == nil {
		w.judge.end()
	}
}

// drain takes steps until none are left.
func (w *world) drain() {
	before := w.steps
	for w.failure == nil && len(w.queue.events) > 0 {
		if w.now > w.calm+mostTime || w.steps > before+mostSteps {
			w.fail("d", "it never comes to rest")
			return
		}
		w.step()
	}
}

func (w *world) fail(oracle, format string, args ...any) {
	if w.failure == nil {
		w.failure = &Failure{Oracle: oracle, What: fmt.Sprintf(format, args...), At: w.now, Step: w.steps}
		w.note("FAILURE %s", w.failure.Error())
	}
}

// stored is a version of an object, and what it said.
type stored struct {
	object object
	text   string
}

// note adds a line to the story, if anybody listens.
func (w *world) note(format string, args ...any) {
	if w.tell {
		w.story = append(w.story, fmt.Sprintf("%9.3fs  ", w.now.Seconds())+fmt.Sprintf(format, args...))
	}
}

// between draws a duration.
func (w *world) between(from, to time.Duration) time.Duration {
	return from + time.Duration(w.rng.Int64N(int64(to-from)+1))
}

func (w *world) chance(one int) bool { return w.rng.IntN(one) == 0 }
