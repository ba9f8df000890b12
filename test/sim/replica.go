package sim

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"grayscale.dev/grayscale/annotator"
	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/routing"
)

// replica is one process of grayscale: it answers at the door, watches, and, while it leads, decides and acts.
// Whatever it does is the product's; only the queue of Services that waits for it is the simulator's, as
// controller-runtime's is.
type replica struct {
	w       *world
	name    string
	born    int // how many processes this replica has been
	cache   *cache
	reader  reader
	clock   time.Duration // how far its clock is ahead; one process keeps one clock, which never jumps
	product *annotator.Controller
	keys    map[string]*key // Services in the queue, by name
	calls   []*call         // of the product that last
	bound   [kinds]bool     // a patch of this kind was seen to be bound to a version

	alive, leading bool
	stopped        time.Duration // until when it stands still (SIGSTOP)
	crash          crash
	halt           halt
	refused        time.Duration // until when the API server answers it with errors
}

// key is one Service in the queue of a process.
type key struct {
	*replica
	service string
	busy    bool
	again   bool
	due     time.Duration // of the next look that is planned; 0 for none
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

const grayscaleLag = 40 * time.Millisecond

func newReplica(w *world, i int) *replica {
	r := &replica{w: w, name: fmt.Sprintf("grayscale-%d", i), clock: clocks[w.rng.IntN(len(clocks))]}
	if r.clock != 0 {
		w.note("the clock of %s is ahead by %s", r.name, r.clock)
	}
	r.start()
	return r
}

// clocks are how far a process's clock may be ahead of others'.
var clocks = []time.Duration{0, 0, 0, 300 * time.Millisecond, -300 * time.Millisecond,
	10 * time.Second, -10 * time.Second, time.Hour, -time.Hour}

// start is a new process: it lists everything and knows nothing else.
func (r *replica) start() {
	r.born++
	r.alive, r.leading = true, false
	r.crash, r.halt, r.stopped = crash{}, halt{}, 0
	r.keys, r.calls, r.bound = map[string]*key{}, nil, [kinds]bool{}
	r.cache = r.w.subscribe(grayscaleLag, r.changed, deployments, pods, services, virtualServices, destinationRules)
	r.reader = newReader(r.cache)
	r.reader.IstioServed = r.w.api.served
	r.product = annotator.New(annotator.Parts{
		Reader: r.reader, Client: apiClient{r: r}, Live: apiClient{r: r}, Events: recorder{r}, Settings: settings,
		Clock:  annotator.Clock{Now: r.now, Sleep: r.w.sleep, WithTimeout: r.w.mutation.timeout(r.w.withTimeout)},
		Decide: r.decide, AtOnce: 1,
	})
}

func (r *replica) die() {
	if r.alive {
		r.w.note("%s dies", r.name)
		led := r.leading
		r.alive, r.leading = false, false
		r.born++
		r.cache.stop(r.w.api)
		for _, c := range r.calls {
			c.over = errDead
			if c != r.w.running {
				r.w.dead = append(r.w.dead, c)
			}
		}
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
		}
		r.lookAll(time.Millisecond)
	}
}

func (r *replica) now() time.Time { return begin.Add(r.w.now + r.clock) }

// decide is the product's decision, as the judge and a mutation see it.
func (r *replica) decide(f routing.Facts, s routing.Settings) routing.Decision {
	m := r.w.mutation
	d := m.decide(f, routing.Decide(m.see(f), m.set(s)))
	seen := &sight{replica: r, service: f.Service.Name, facts: f, decision: d, pods: r.cache.watches[pods].upTo()}
	for _, x := range f.Deployments {
		if d, ok := get[*deployment](r.cache.tables[deployments], x.Name); ok {
			seen.deployments = append(seen.deployments, d)
		}
	}
	c := r.w.running
	c.sight, c.sights[seen.service] = seen, seen
	return d
}

// changed is every watch's handler: it has the Services looked at that the change may matter to.
func (r *replica) changed(before, after object) {
	for _, o := range []object{before, after} {
		if o != nil {
			r.reader.take(o.id().kind)
		}
	}
	var keys []types.NamespacedName
	for _, o := range []object{before, after} {
		if o != nil && !same(before, after) {
			keys = append(keys, affected(r.reader, o)...)
		}
	}
	r.enqueue(keys, func() time.Duration { return r.w.between(time.Millisecond, 3*time.Millisecond) })
}

// same reports that the product reads nothing of what has changed.
func same(before, after object) bool {
	if before == nil || after == nil {
		return false
	}
	switch before := before.(type) {
	case *deployment:
		return observe.SameDeployment(before.kube(), after.(*deployment).kube())
	case *pod:
		return observe.SamePod(before.known(), after.(*pod).known())
	case *kubeService:
		return observe.SameService(before.kube(), after.(*kubeService).kube())
	}
	return false
}

// affected are the Services that a change of the object may matter to.
func affected(r reader, o object) []types.NamespacedName {
	switch o := o.(type) {
	case *deployment:
		return observe.AffectedByDeployment(r, o.kube())
	case *pod:
		return observe.AffectedByPod(r, o.known())
	case *kubeService:
		return observe.AffectedByService(r, o.kube())
	case *virtualService:
		return observe.AffectedByIstio(r, o.spec)
	case *destinationRule:
		return observe.AffectedByIstio(r, o.spec)
	}
	return nil
}

// enqueue has Services looked at, each once.
func (r *replica) enqueue(services []types.NamespacedName, wait func() time.Duration) {
	if len(services) == 0 {
		return
	}
	var names []string
	for _, s := range services {
		if s.Namespace != namespace {
			r.w.fail("e", "Service %s is looked at", s)
		}
		names = append(names, s.Name)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		k := r.keys[name]
		if k == nil {
			k = &key{replica: r, service: name}
			r.keys[name] = k
		}
		if k.busy {
			k.again = true
		}
		k.look(wait())
	}
}

// lookAll has every Service looked at.
func (r *replica) lookAll(wait time.Duration) {
	r.enqueue(observe.All(r.reader), func() time.Duration { return wait })
}

// look plans a look, unless an earlier one is planned.
func (k *key) look(wait time.Duration) {
	at := k.w.now + wait
	if !k.alive || !k.leading || k.busy || k.due != 0 && k.due <= at {
		return
	}
	k.due = at
	k.then(wait, func() {
		if k.due == at {
			k.due = 0
			k.reconcile()
		}
	})
}

// then does something later in this process, when it does not stand still.
func (r *replica) then(wait time.Duration, do func()) {
	born := r.born
	var once func()
	once = func() {
		switch {
		case r.born != born:
		case r.w.now < r.stopped:
			r.w.at(r.stopped, once)
		default:
			do()
		}
	}
	r.w.after(wait, once)
}

// reconcile is the product's, and what controller-runtime makes of its result.
func (k *key) reconcile() {
	if !k.leading || k.busy {
		return
	}
	k.busy, k.again = true, false
	born, request := k.born, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: k.service}}
	var result reconcile.Result
	k.call(0, func(ctx context.Context) (err error) {
		result, err = k.product.Reconcile(ctx, request)
		return err
	}, func(err error) {
		if k.born != born {
			return
		}
		k.busy = false
		limiter := k.product.RateLimiter()
		if err != nil {
			k.w.note("%s: %v", k.name, err)
			k.look(limiter.When(request))
		} else if limiter.Forget(request); result.RequeueAfter > 0 {
			k.look(result.RequeueAfter)
		}
		if k.again {
			k.look(time.Millisecond)
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

// recorder has Events in the story.
type recorder struct{ r *replica }

// Eventf is called for each Event.
func (x recorder) Eventf(_, _ runtime.Object, kind, reason, _, note string, args ...any) {
	if x.r.w.tell {
		x.r.w.note("%s tells %s %s: %s", x.r.name, strings.ToLower(kind), reason, fmt.Sprintf(note, args...))
	}
}
