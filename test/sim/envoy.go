package sim

import (
	"slices"
	"time"
)

// envoy applies a push in parts: clusters first, then, in any order, endpoints and routes. A new cluster is usable only
// once its endpoints have come, for which routes do not wait; a cluster that is no longer named is dropped at once.
type envoy struct {
	w    *world
	name string
	// namespace is that of its clients.
	namespace string
	services  []*outbound // in the order of world.services
	applying  bool
	serial    int     // of the latest push that has come
	next      *config // the latest push that waits; istiod merges those in between
}

// outbound is what an Envoy knows about one Service.
type outbound struct {
	service string
	active  []cluster
	warming []string
	plain   []string
	routes  []route
	host    bool
}

func (e *envoy) push(c *config) {
	if c.serial < e.serial {
		return // istiod has built a newer one since
	}
	e.serial = c.serial
	if e.applying {
		e.next = c
		return
	}
	e.applying = true
	e.w.after(e.w.between(time.Millisecond, applyMost), func() { e.clusters(c) })
}

func (e *envoy) clusters(c *config) {
	for n, o := range e.services {
		o.clusters(c.services[n])
	}
	e.w.judge.requests(e)
	left := 2
	done := func() {
		e.w.judge.requests(e)
		if left--; left == 0 {
			e.ready()
		}
	}
	e.w.after(e.w.between(time.Millisecond, applyMost), func() {
		for n, o := range e.services {
			o.active, o.warming, o.plain = slices.Clone(c.services[n].clusters), nil, c.services[n].plain
		}
		done()
	})
	e.w.after(e.w.between(time.Millisecond, applyMost), func() {
		for n, o := range e.services {
			o.routes = c.services[n].routes
		}
		done()
	})
}

func (o *outbound) clusters(c served) {
	named := func(name string) bool {
		return slices.ContainsFunc(c.clusters, func(x cluster) bool { return x.name == name })
	}
	o.active = slices.DeleteFunc(o.active, func(x cluster) bool { return !named(x.name) })
	o.warming, o.host = nil, c.host
	for _, x := range c.clusters {
		if o.cluster(x.name) == nil {
			o.warming = append(o.warming, x.name)
		}
	}
}

func (e *envoy) ready() {
	e.applying = false
	if c := e.next; c != nil {
		e.next = nil
		e.push(c)
	}
}

func (e *outbound) cluster(name string) *cluster {
	for i := range e.active {
		if e.active[i].name == name {
			return &e.active[i]
		}
	}
	return nil
}
