package store

import (
	"context"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// sink is where client-go's Reflector writes the objects of one namespace, or of all under the empty name: O as the API
// server sends them, T as they are kept.
type sink[O client.Object, T any] struct {
	objects   *objects[T]
	keep      func(O) *T // nil for an object that is not worth keeping
	namespace string
	reflector *cache.Reflector
	synced    chan struct{} // closed once everything that there was at the start is there
}

// source is a sink of any kind.
type source interface {
	run(ctx context.Context)
	wait(ctx context.Context) error
}

func newSink[O client.Object, T any](
	o *objects[T], keep func(O) *T, from rest.Interface, namespace string) *sink[O, T] {
	s := &sink[O, T]{objects: o, keep: keep, namespace: namespace, synced: make(chan struct{})}
	var example O
	lists := cache.NewFilteredListWatchFromClient(from, o.resource, namespace, func(*metav1.ListOptions) {})
	s.reflector = cache.NewReflectorWithOptions(lists, example, s, cache.ReflectorOptions{Name: o.resource})
	return s
}

// run watches until ctx ends.
func (s *sink[O, T]) run(ctx context.Context) { s.reflector.RunWithContext(ctx) }

// wait returns once everything that there was at the start is there.
func (s *sink[O, T]) wait(ctx context.Context) error {
	select {
	case <-s.synced:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the list of %s: %w", s.objects.resource, ctx.Err())
	}
}

// Transformer has objects packed one by one as they arrive, so that a list is never in memory as a whole.
func (s *sink[O, T]) Transformer() cache.TransformFunc {
	return func(o any) (any, error) { return s.item(o) }
}

// GetObjectMeta is where client-go reads an item's name.
func (i *item[T]) GetObjectMeta() metav1.Object {
	namespace, name, _ := strings.Cut(i.key, "/")
	return &metav1.ObjectMeta{Namespace: namespace, Name: name}
}

func (s *sink[O, T]) item(o any) (*item[T], error) {
	switch o := o.(type) {
	case *item[T]:
		return o, nil
	case O:
		out := &item[T]{key: o.GetNamespace() + "/" + o.GetName()}
		object := s.keep(o)
		if object == nil {
			return out, nil
		}
		var err error
		if out.entry, err = s.objects.pack(object); err != nil {
			return nil, fmt.Errorf("packing %s of %s: %w", out.key, s.objects.resource, err)
		}
		out.indexed = s.objects.indexed(object)
		return out, nil
	}
	return nil, fmt.Errorf("a watch of %s sent a %T", s.objects.resource, o)
}

// Add is called for an object that has come.
func (s *sink[O, T]) Add(o any) error { return s.Update(o) }

// Update is called for an object that has changed.
func (s *sink[O, T]) Update(o any) error {
	is, err := s.item(o)
	if err != nil {
		return err
	}
	s.objects.change(*is)
	return nil
}

// Delete is called for an object that has gone.
func (s *sink[O, T]) Delete(o any) error {
	was, err := s.item(o)
	if err != nil {
		return err
	}
	s.objects.change(item[T]{key: was.key})
	return nil
}

// Replace is called with all objects, at the start and where the watch has missed something. It notifies of
// differences, except at the start.
func (s *sink[O, T]) Replace(list []any, _ string) error {
	first, change := !closed(s.synced), s.objects.change
	if first {
		change = func(is item[T]) { s.objects.set(is) }
	}
	there := make(map[string]struct{}, len(list))
	for i, o := range list {
		is, err := s.item(o)
		if err != nil {
			return err
		}
		list[i] = nil // its memory is good for the next
		there[is.key] = struct{}{}
		change(*is)
	}
	for _, key := range s.objects.keys() {
		namespace, _, _ := strings.Cut(key, "/")
		if _, ok := there[key]; !ok && (s.namespace == "" || s.namespace == namespace) {
			change(item[T]{key: key})
		}
	}
	if first {
		close(s.synced)
	}
	return nil
}

// Resync is never called: there is no resync period.
func (s *sink[O, T]) Resync() error { return nil }

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
