package sim

import (
	"fmt"
	"time"
)

// workload is kube-controller-manager's Deployment and ReplicaSet controllers and its garbage collector. It reads
// Deployments and ReplicaSets by separate watches; of pods it knows what it has done itself (its "expectations"), so
// that it reads these as they are.
type workload struct {
	w     *world
	cache *cache
	due   map[string]bool // Deployments to look at
}

const kubernetes = "kube-controller-manager"

func newWorkload(w *world) *workload {
	c := &workload{w: w, due: map[string]bool{}}
	c.cache = w.subscribe(30*time.Millisecond, c.changed, deployments, replicaSets, pods)
	return c
}

func (c *workload) changed(before, after object) {
	for _, o := range []object{after, before} {
		switch o := o.(type) {
		case *deployment:
			c.look(o.name)
			return
		case *replicaSet:
			c.look(o.deployment)
			return
		case *pod:
			c.look(o.deployment)
			return
		}
	}
}

func (c *workload) look(name string) {
	if !c.due[name] {
		c.due[name] = true
		c.w.after(c.w.between(time.Millisecond, 15*time.Millisecond), func() {
			delete(c.due, name)
			c.sync(name)
		})
	}
}

// sync looks at a Deployment and then at its ReplicaSets.
func (c *workload) sync(name string) {
	d, ok := get[*deployment](c.cache.tables[deployments], name)
	if !ok || d.deleting {
		return
	}
	sets := setsOf(c.cache.tables[replicaSets], d.uid)
	c.observe(d)
	if d.paused {
		c.scalePaused(d, sets)
	} else {
		c.rollOut(d, sets)
	}
	for _, s := range setsOf(c.cache.tables[replicaSets], d.uid) {
		c.replicate(s)
	}
}

func (c *workload) observe(d *deployment) {
	live, ok := get[*deployment](c.w.api.list(deployments), d.name)
	if ok && live.uid == d.uid && live.observed < d.generation {
		next := live.copy()
		next.observed = d.generation
		_ = c.w.api.update(kubernetes, next, live.version)
	}
}

// scalePaused: a paused Deployment rolls nothing out, but is scaled.
func (c *workload) scalePaused(d *deployment, sets []*replicaSet) {
	if n := len(sets); n > 0 {
		active := sets[n-1]
		for _, s := range sets {
			if s.replicas > 0 {
				active = s
			}
		}
		c.scale(active, d.replicas)
	}
}

// rollOut moves from the old ReplicaSets to the one that equals the template, one pod ahead and none behind, as the
// default strategy does for up to four pods (maxSurge 25 % rounded up, maxUnavailable 25 % rounded down).
func (c *workload) rollOut(d *deployment, sets []*replicaSet) {
	var current *replicaSet
	var total, ready, old int32
	for _, s := range sets {
		if s.template == d.template {
			current = s
		} else {
			old += s.replicas
		}
		total += s.replicas
		ready += c.ready(s)
	}
	switch {
	case current == nil:
		c.newSet(d, sets)
	case old == 0 || current.replicas > d.replicas:
		c.scale(current, d.replicas)
	case current.replicas < d.replicas && total <= d.replicas:
		c.scale(current, current.replicas+1)
	}
	if current == nil {
		return
	}
	spare := ready - d.replicas
	for _, s := range sets {
		if s == current || s.replicas == 0 {
			continue
		}
		drop := min(s.replicas, s.replicas-c.ready(s)+max(0, spare))
		spare -= min(drop, c.ready(s))
		c.scale(s, s.replicas-drop)
	}
}

func (c *workload) ready(s *replicaSet) int32 {
	n := int32(0)
	for _, p := range podsOf(c.w.api.list(pods), s.uid) {
		if p.ready {
			n++
		}
	}
	return min(n, s.replicas)
}

func (c *workload) newSet(d *deployment, sets []*replicaSet) {
	name := fmt.Sprintf("%s-%s-%s", d.name, d.template.image, d.template.version)
	for { // as with a collision of hashes: an adopted ReplicaSet keeps the name of the template that it had
		taken, ok := get[*replicaSet](c.w.api.list(replicaSets), name)
		if !ok || taken.owner == d.uid && taken.template == d.template {
			break
		}
		name += "x"
	}
	s := &replicaSet{identity: identity{kind: replicaSets, name: name}, owner: d.uid,
		deployment: d.name, app: d.app, template: d.template, generation: 1}
	if live, ok := get[*deployment](c.w.api.list(deployments), d.name); !ok || live.uid != d.uid {
		return // the garbage collector would take it away at once
	}
	if c.w.api.create(kubernetes, s) != nil {
		c.look(d.name) // its own cache lags
		return
	}
	c.w.note("%s rolls out image %s, version %q", d.name, d.template.image, d.template.version)
	c.w.judge.rolled(d, sets)
}

func (c *workload) scale(s *replicaSet, n int32) {
	if s.replicas == n || s.deleting {
		return
	}
	next := s.copy()
	next.replicas = n
	next.generation++
	if c.w.api.update(kubernetes, next, s.version) != nil {
		c.look(s.deployment) // its own cache lags: again
	}
}

// replicate gives a ReplicaSet its number of pods.
func (c *workload) replicate(s *replicaSet) {
	live, ok := get[*replicaSet](c.w.api.list(replicaSets), s.name)
	if !ok || live.uid != s.uid || live.deleting {
		return
	}
	if live.observed < s.generation {
		next := live.copy()
		next.observed = s.generation
		_ = c.w.api.update(kubernetes, next, live.version)
	}
	have := podsOf(c.w.api.list(pods), s.uid)
	for n := int32(len(have)); n < s.replicas; n++ {
		c.w.kubelet.start(s)
	}
	for len(have) > int(s.replicas) {
		least := 0 // of those that are not ready, else of all, the youngest
		for i, p := range have {
			if !p.ready || have[least].ready {
				least = i
			}
		}
		c.w.kubelet.end(have[least].name)
		have = append(have[:least], have[least+1:]...)
	}
}

// collect is the garbage collector after a Deployment was deleted in the background, or while it waits in the
// foreground.
func (c *workload) collect(owner int64, foreground bool) {
	for _, s := range setsOf(c.w.api.list(replicaSets), owner) {
		if foreground {
			next := s.copy()
			next.deleting = true
			_ = c.w.api.update(kubernetes, next, 0)
		} else {
			_ = c.w.api.remove(kubernetes, replicaSets, s.name, 0)
		}
		set := s.uid
		c.w.after(c.w.between(5*time.Millisecond, 30*time.Millisecond), func() {
			for _, p := range podsOf(c.w.api.list(pods), set) {
				c.w.kubelet.end(p.name)
			}
		})
	}
	if foreground {
		c.w.after(50*time.Millisecond, func() { c.finish(owner) })
	}
}

// finish removes a Deployment that was deleted in the foreground once its pods have gone.
func (c *workload) finish(owner int64) {
	for _, s := range setsOf(c.w.api.list(replicaSets), owner) {
		for _, o := range c.w.api.list(pods) {
			if o.(*pod).owner == s.uid {
				c.w.after(50*time.Millisecond, func() { c.finish(owner) })
				return
			}
		}
		_ = c.w.api.remove(kubernetes, replicaSets, s.name, 0)
	}
	for _, o := range c.w.api.list(deployments) {
		if o.id().uid == owner {
			_ = c.w.api.remove(kubernetes, deployments, o.id().name, 0)
			return
		}
	}
}
