package sim

import (
	"strconv"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/routing/mesh"
)

// do does what an act says.
func (w *world) do(a Act) {
	w.note("%s", a.String()[12:])
	w.lastFault = max(w.lastFault, w.now+a.For)
	switch a.Do {
	case create:
		w.users.create(a)
	case annotate:
		w.users.annotate(a)
	case git:
		w.users.git(a)
	case apply:
		w.users.apply(a)
	case replace:
		w.users.replace(a)
	case image:
		w.users.change(a.N, kubectl, func(d *deployment) { d.template.image = a.Value })
	case relabel:
		w.users.change(a.N, kubectl, func(d *deployment) { d.template.version = a.Value })
	case resume:
		w.users.change(a.N, kubectl, func(d *deployment) { d.pause(false) })
	case scale:
		w.users.scale(a)
	case remove, foreground:
		w.users.delete(a)
	case unready:
		w.users.unready(a)
	case kill:
		w.users.kill(a)
	case noService:
		w.users.deleteService(a)
	case editRoutes, loseRoutes, loseRule, touchRoutes, storm:
		w.meddle(a)
	case hide, reveal:
		w.foreign(a)
	default:
		w.fault(a)
	}
}

func (w *world) fault(a Act) {
	switch a.Do {
	case noWebhook:
		w.webhookOff = true
		w.after(a.For, func() { w.webhookOff = false })
		return
	case noIstio:
		w.loseIstio(a.For)
		return
	}
	r := w.replicas[a.N%len(w.replicas)]
	if !r.alive {
		return
	}
	switch a.Do {
	case crashAt:
		n, _ := strconv.Atoi(a.Value)
		r.crash = crash{in: n, after: a.Key == "after"}
	case standStill:
		r.stand(a.For)
	case haltAt:
		n, _ := strconv.Atoi(a.Value)
		r.halt = halt{in: n, how: a.For}
	case failOver:
		r.die()
	case skew:
		r.die()
		r.clock, _ = time.ParseDuration(a.Value)
	case stall:
		for k, x := range r.cache.watches {
			if x != nil && (a.Key == "all" || a.Key == kindNames[k]) {
				x.stalled = w.now + a.For
			}
		}
	case relistAll:
		for _, x := range r.cache.watches {
			if x != nil {
				x.relist()
			}
		}
	case repeat:
		r.lookAll(0)
	case refuse:
		r.refused = w.now + a.For
	}
}

// stand stops a process (SIGSTOP). Another one leads meanwhile; when it goes on, it takes itself for the leader for a
// while, and then ends itself, as controller-runtime does.
func (r *replica) stand(d time.Duration) {
	w := r.w
	r.stopped = w.now + d
	if !r.leading {
		return
	}
	w.after(w.between(0, d), func() { w.elect(true) })
	born := r.born
	w.after(d+w.between(0, 3*time.Second), func() {
		if r.born == born {
			r.die()
		}
	})
}

// elect makes a live replica lead; even where one that stands still takes itself for the leader.
func (w *world) elect(even bool) {
	var free *replica
	for _, r := range w.replicas {
		awake := w.now >= r.stopped
		if r.alive && r.leading && (awake || !even) {
			return
		}
		if r.alive && !r.leading && awake && free == nil {
			free = r
		}
	}
	if free == nil {
		w.after(500*time.Millisecond, func() { w.elect(even) })
		return
	}
	free.lead()
}

// died: the process starts again, and somebody leads.
func (w *world) died(r *replica, led bool) {
	born := r.born
	w.after(w.between(200*time.Millisecond, 5*time.Second), func() {
		if r.born == born {
			r.start()
		}
	})
	if led {
		w.after(w.between(100*time.Millisecond, 17*time.Second), func() { w.elect(true) })
	}
}

// loseIstio deletes the definitions of Istio's kinds, which deletes every object of them, and brings them back.
func (w *world) loseIstio(d time.Duration) {
	if !w.api.served {
		return
	}
	for _, service := range w.services {
		w.loseDerived(kubectl, service)
	}
	for _, name := range sortedKeys(foreignRules) {
		_ = w.api.remove(kubectl, destinationRules, name, 0)
	}
	w.api.served = false
	w.wakeAll()
	w.after(d, func() {
		w.api.served = true
		w.wakeAll()
	})
}

// wakeAll: whether Istio is there is noticed by every replica, which ends its watches or begins them anew.
func (w *world) wakeAll() {
	for _, r := range w.replicas {
		if r.alive {
			r.reader.IstioServed = w.api.served
			r.cache.watches[virtualServices].relist()
			r.cache.watches[destinationRules].relist()
			soon := func() time.Duration { return w.between(10*time.Millisecond, 300*time.Millisecond) }
			r.enqueue(observe.All(r.reader), soon)
		}
	}
}

func (w *world) loseDerived(by, service string) {
	_ = w.api.remove(by, virtualServices, mesh.Name(service), 0)
	_ = w.api.remove(by, destinationRules, mesh.Name(service), 0)
}

// of is the Service that an act is about.
func (w *world) of(a Act) string { return w.services[a.N%len(w.services)] }

// meddle is a user who changes the derived objects by hand.
func (w *world) meddle(a Act) {
	service := w.of(a)
	vs, routed := get[*virtualService](w.api.list(virtualServices), mesh.Name(service))
	switch {
	case a.Do == loseRoutes:
		_ = w.api.remove(kubectl, virtualServices, mesh.Name(service), 0)
	case a.Do == loseRule:
		_ = w.api.remove(kubectl, destinationRules, mesh.Name(service), 0)
	case !routed:
	case a.Do == editRoutes:
		w.edit(vs, func(o *networkingv1.VirtualService) {
			for _, h := range o.Spec.Http {
				h.Timeout = nil
				for _, d := range h.Route {
					d.Weight = 1
				}
			}
			o.Spec.Gateways = nil
		})
	case a.Do == touchRoutes, a.Do == storm:
		if every := 10 * time.Millisecond; a.For > every {
			again := a
			again.For -= every
			w.after(every, func() { w.meddle(again) })
		}
		w.edit(vs, func(o *networkingv1.VirtualService) { o.Annotations["example.com/touched"] = w.now.String() })
	}
}

func (w *world) edit(vs *virtualService, change func(*networkingv1.VirtualService)) {
	next := &virtualService{identity: vs.identity, spec: vs.spec.DeepCopy()}
	change(next.spec)
	_ = w.api.update(kubectl, next, vs.version)
}

// endFaults has everything work again that does not end by itself.
func (w *world) endFaults() {
	for _, r := range w.replicas {
		r.crash, r.halt, r.refused = crash{}, halt{}, 0
		r.lookAll(0)
	}
	w.elect(true)
}
