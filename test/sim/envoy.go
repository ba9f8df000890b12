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
	active    []cluster
	warming   []string
	plain     []string
	routes    []route
	host      bool
	applying  bool
	serial    int     // of the latest push that has come
	next      *config // the latest push that waits; istiod merges those in between
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
	named := func(name string) bool {
		return slices.ContainsFunc(c.clusters, func(x cluster) bool { return x.name == name })
	}
	e.active = slices.DeleteFunc(e.active, func(x cluster) bool { return !named(x.name) })
	e.warming, e.host = nil, c.host
	for _, x := range c.clusters {
		if e.cluster(x.name) == nil {
			e.warming = append(e.warming, x.name)
		}
	}
	e.w.judge.requests(e)
	left := 2
	done := func() {
		e.w.judge.requests(e)
		if left--; left == 0 {
			e.ready()
		}
	}
	e.w.after(e.w.between(time.Millisecond, applyMost), func() { e.active, e.warming, e.plain = slices.Clone(c.clusters), nil, c.plain; done() })
	e.w.after(e.w.between(time.Millisecond, applyMost), func() { e.routes = c.routes; done() })
}

func (e *envoy) ready() {
	e.applying = false
	if c := e.next; c != nil {
		e.next = nil
		e.push(c)
	}
}

func (e *envoy) cluster(name string) *cluster {
	for i := range e.active {
		if e.active[i].name == name {
			return &e.active[i]
		}
	}
	return nil
}
