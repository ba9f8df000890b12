package annotator

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// shelf keeps all objects of one kind, fed by client-go's Reflectors. Each object is kept as compressed bytes, which the garbage
// collector need not look into, and is read anew for each caller, who owns what it gets. An informer's store holds decoded objects
// and, for each key of an index, a set: with many releases that is several times as much memory (make bench-scale).
type shelf[T kept] struct {
	kind kind[T]
	dict dictionary

	lock    sync.RWMutex
	objects map[string]*packed   // by namespace/name
	index   map[uint64][]*packed // by the hash of an index and a key in it
	digests map[uint64]*digest   // of what is there, see digestOf
	changed func(before, after T)
}

// kept is what a shelf can keep: pointers, of which nil stands for no object.
type kept interface {
	client.Object
	comparable
}

// kind is how objects of one kind are kept.
type kind[T kept] struct {
	resource string // as in the API's paths
	trim     func(T) T
	pack     func(T) ([]byte, error) // no bytes for an object that is not worth keeping
	unpack   func([]byte) (T, error)
	indexes  indexes[T]
}

// indexes give the keys under which an object is found, by the name of the index.
type indexes[T kept] map[string]func(T) []string

// packed is one object. Its bytes change, under the shelf's lock, and it stays where the indexes have it.
type packed struct{ bytes string }

var seed = maphash.MakeSeed()

// place is where an index has a key. Different ones may meet there: whoever looks something up looks at what it finds.
func place(index, key string) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	_, _ = h.WriteString(index) // never fails
	_ = h.WriteByte(0)
	_, _ = h.WriteString(key)
	return h.Sum64()
}

func newShelf[T kept](k kind[T]) *shelf[T] {
	return &shelf[T]{kind: k, objects: map[string]*packed{}, index: map[uint64][]*packed{}, digests: map[uint64]*digest{}}
}

// get is the object of a namespace/name.
func (s *shelf[T]) get(name string) (T, bool) {
	s.lock.RLock()
	found, ok := s.objects[name]
	var bytes string
	if ok {
		bytes = found.bytes
	}
	s.lock.RUnlock()
	return s.read(bytes), ok
}

// has tells whether there is an object of a namespace/name.
func (s *shelf[T]) has(name string) bool {
	s.lock.RLock()
	defer s.lock.RUnlock()
	_, ok := s.objects[name]
	return ok
}

// under is what an index has under a key.
func (s *shelf[T]) under(index, key string) []T { return s.underBut("", index, key) }

// underBut leaves the object of a namespace/name out.
func (s *shelf[T]) underBut(name, index, key string) []T {
	s.lock.RLock()
	found, but := s.index[place(index, key)], s.objects[name]
	all := make([]string, 0, len(found))
	for _, p := range found {
		if p != but {
			all = append(all, p.bytes)
		}
	}
	s.lock.RUnlock()
	out := make([]T, 0, len(all))
	for _, bytes := range all {
		if o := s.read(bytes); slices.Contains(s.kind.indexes[index](o), key) {
			out = append(out, o)
		}
	}
	return out
}

// names are the namespace/name of all objects.
func (s *shelf[T]) names() []string {
	s.lock.RLock()
	defer s.lock.RUnlock()
	out := make([]string, 0, len(s.objects))
	for name := range s.objects {
		out = append(out, name)
	}
	return out
}

// read is nil where there are no bytes.
func (s *shelf[T]) read(bytes string) T {
	var none T
	if bytes == "" {
		return none
	}
	plain, err := s.dict.decompress(bytes)
	if err == nil {
		var o T
		if o, err = s.kind.unpack(plain); err == nil {
			return o
		}
	}
	panic(fmt.Sprintf("what a shelf of %s has packed cannot be unpacked: %v", s.kind.resource, err))
}

// parcel is an object on its way to a shelf, or its absence where there are no bytes.
type parcel struct {
	name, bytes string
	places      []uint64
}

// GetObjectMeta is what client-go takes an object's name from.
func (p *parcel) GetObjectMeta() metav1.Object {
	namespace, name, _ := strings.Cut(p.name, "/")
	return &metav1.ObjectMeta{Namespace: namespace, Name: name}
}

func (s *shelf[T]) parcel(o T) (*parcel, error) {
	trimmed := s.kind.trim(o)
	plain, err := s.kind.pack(trimmed)
	if err != nil {
		return nil, fmt.Errorf("keeping %T %s/%s: %w", o, o.GetNamespace(), o.GetName(), err)
	}
	name := o.GetNamespace() + "/" + o.GetName()
	if len(plain) == 0 {
		return &parcel{name: name}, nil
	}
	return &parcel{name, s.dict.compress(plain), s.places(trimmed)}, nil
}

// set puts an object in its place, and gives the one before it.
func (s *shelf[T]) set(is *parcel) T {
	s.lock.Lock()
	defer s.lock.Unlock()
	p, there := s.objects[is.name]
	if !there {
		p = &packed{}
	}
	before := s.read(p.bytes)
	was := s.places(before)
	for _, at := range was {
		delete(s.digests, at)
		if !slices.Contains(is.places, at) {
			s.remove(at, p)
		}
	}
	for _, at := range is.places {
		delete(s.digests, at)
		if !slices.Contains(was, at) {
			s.index[at] = append(s.index[at], p)
		}
	}
	p.bytes = is.bytes
	switch {
	case is.bytes == "":
		delete(s.objects, is.name)
	case !there:
		s.objects[is.name] = p
	}
	return before
}

// places are all places that indexes have the object at, each once.
func (s *shelf[T]) places(o T) []uint64 {
	var none T
	if o == none {
		return nil
	}
	var out []uint64
	for name, keys := range s.kind.indexes {
		for _, key := range keys(o) {
			if at := place(name, key); !slices.Contains(out, at) {
				out = append(out, at)
			}
		}
	}
	return out
}

func (s *shelf[T]) remove(at uint64, p *packed) {
	left := s.index[at]
	if i := slices.Index(left, p); i >= 0 {
		left[i] = left[len(left)-1]
		left[len(left)-1] = nil
		left = left[:len(left)-1]
	}
	if len(left) == 0 {
		delete(s.index, at)
		return
	}
	s.index[at] = left
}

// follow has each change from now on told; nil stands for no object. What is there already is not told.
func (s *shelf[T]) follow(changed func(before, after T)) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.changed = changed
}

// change puts an object in its place, and tells.
func (s *shelf[T]) change(is *parcel) {
	before := s.set(is)
	s.lock.RLock()
	changed := s.changed
	s.lock.RUnlock()
	var none T
	if changed != nil && (before != none || is.bytes != "") {
		changed(before, s.read(is.bytes))
	}
}

// feed is a watch of one namespace, or of all under the empty name, that keeps a shelf as the API server has it.
type feed[T kept] struct {
	shelf     *shelf[T]
	namespace string
	reflector *toolscache.Reflector
	filled    chan struct{} // closed once all that there was at the start is there
}

func newFeed[T kept](s *shelf[T], from rest.Interface, namespace string) *feed[T] {
	f := &feed[T]{shelf: s, namespace: namespace, filled: make(chan struct{})}
	var none T
	f.reflector = toolscache.NewReflectorWithOptions(toolscache.NewFilteredListWatchFromClient(from, s.kind.resource, namespace, func(*metav1.ListOptions) {}),
		none, f, toolscache.ReflectorOptions{Name: s.kind.resource})
	return f
}

// run watches until ctx ends.
func (f *feed[T]) run(ctx context.Context) { f.reflector.RunWithContext(ctx) }

// full waits until all that there was at the start is there.
func (f *feed[T]) full(ctx context.Context) error {
	select {
	case <-f.filled:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the list of %s: %w", f.shelf.kind.resource, ctx.Err())
	}
}

// Transformer has objects packed one by one as they arrive.
func (f *feed[T]) Transformer() toolscache.TransformFunc {
	return func(obj any) (any, error) { return f.parcel(obj) }
}

func (f *feed[T]) parcel(obj any) (*parcel, error) {
	switch o := obj.(type) {
	case *parcel:
		return o, nil
	case T:
		return f.shelf.parcel(o)
	}
	return nil, fmt.Errorf("a watch of %s gave a %T", f.shelf.kind.resource, obj)
}

// Add is called for an object that has come.
func (f *feed[T]) Add(obj any) error { return f.Update(obj) }

// Update is called for an object that has changed.
func (f *feed[T]) Update(obj any) error {
	is, err := f.parcel(obj)
	if err != nil {
		return err
	}
	f.shelf.change(is)
	return nil
}

// Delete is called for an object that has gone.
func (f *feed[T]) Delete(obj any) error {
	was, err := f.parcel(obj)
	if err != nil {
		return err
	}
	f.shelf.change(&parcel{name: was.name})
	return nil
}

// Replace is called with all objects, at the start and where the watch has missed something. What differs is told, except
// at the start.
func (f *feed[T]) Replace(list []any, _ string) error {
	first, change := !closed(f.filled), f.shelf.change
	if first {
		change = func(is *parcel) { f.shelf.set(is) }
	}
	there := make(map[string]struct{}, len(list))
	for i, obj := range list {
		is, err := f.parcel(obj)
		if err != nil {
			return err
		}
		list[i] = nil // its memory is good for the next
		there[is.name] = struct{}{}
		change(is)
	}
	for _, name := range f.shelf.names() {
		namespace, _, _ := strings.Cut(name, "/")
		if _, ok := there[name]; !ok && (f.namespace == "" || f.namespace == namespace) {
			change(&parcel{name: name})
		}
	}
	if first {
		close(f.filled)
	}
	return nil
}

// Resync is never called for: nothing is told twice.
func (f *feed[T]) Resync() error { return nil }

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
