package sim

import (
	"slices"
	"time"
)

// slicer is the EndpointSlice controller.
type slicer struct {
	w     *world
	cache *cache
	due   bool
	wrote time.Duration
}

// backOff is how long the EndpointSlice controller waits where its own cache lags behind what it wrote: seen in 12 of
// 50 runs of the lab, for the second of two changes in quick succession.
const backOff = time.Second

func newSlicer(w *world) *slicer {
	s := &slicer{w: w, wrote: -time.Hour}
	changed := func(_, _ object) { s.look(w.between(2*time.Millisecond, 20*time.Millisecond)) }
	s.cache = w.subscribe(20*time.Millisecond, changed, pods, services)
	return s
}

func (s *slicer) look(wait time.Duration) {
	if s.due {
		return
	}
	s.due = true
	if s.w.now-s.wrote < 50*time.Millisecond && s.w.chance(4) {
		wait = backOff
	}
	s.w.after(wait, func() {
		s.due = false
		s.sync()
	})
}

func (s *slicer) sync() {
	for _, name := range s.w.services {
		s.slice(name)
	}
}

func (s *slicer) slice(service string) {
	svc, exists := get[*kubeService](s.cache.tables[services], service)
	old, written := get[*endpointSlice](s.w.api.list(endpointSlices), service)
	if !exists {
		if written {
			_ = s.w.api.remove(kubernetes, endpointSlices, service, 0)
		}
		return
	}
	next := &endpointSlice{identity: identity{kind: endpointSlices, name: service}}
	for _, o := range s.cache.tables[pods] {
		if p := o.(*pod); p.app == svc.app && p.serves() {
			next.pods = append(next.pods, p.name)
		}
	}
	switch {
	case !written:
		_ = s.w.api.create(kubernetes, next)
	case !slices.Equal(old.pods, next.pods):
		next.identity = old.identity
		_ = s.w.api.update(kubernetes, next, 0)
	default:
		return
	}
	s.wrote = s.w.now
}
