package store

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/observe"
)

// Notify has a function called with the Services that have to be looked at: all with a release once the store is
// filled, and from then on those that a change affects. It replaces the function before it.
func (s *Store) Notify(affected func([]types.NamespacedName)) {
	s.affected.Store(&affected)
	if closed(s.crds.looked) {
		affected(observe.All(s))
	}
}

func (s *Store) notify(services []types.NamespacedName) {
	if affected := s.affected.Load(); affected != nil {
		(*affected)(services)
	}
}

// follow notifies of the Services that a change affects: those that the object led to before it, and those that it
// leads to after it. Changes of which nothing is read are dropped first.
func follow[T any](s *Store, o *objects[T], same func(before, after *T) bool,
	affected func(*T) []types.NamespacedName) {
	o.notify(func(before, after *T) {
		if s.affected.Load() == nil || before != nil && after != nil && same(before, after) {
			return
		}
		for _, object := range []*T{before, after} {
			if object != nil {
				s.notify(affected(object))
			}
		}
	})
}

func sameVersion[T any, P interface {
	*T
	metav1.Object
}](before, after *T) bool {
	return P(before).GetResourceVersion() == P(after).GetResourceVersion()
}
