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
// and, for each key of an index, a set: with 10,000 releases that is more than ten times as much memory (make bench-scale).
type shelf[T kept] struct {
	kind kind[T]
	dict dictionary

	lock    sync.RWMutex
	objects map[string]*packed   // by namespace/name
	index   map[uint64][]*packed // by the hash of an index and a key in it
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
	pack     func(T) ([]byte, error)
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
	return &shelf[T]{kind: k, objects: map[string]*packed{}, index: map[uint64][]*packed{}}
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

// under is what an index has under a key.
func (s *shelf[T]) under(index, key string) []T {
	s.lock.RLock()
	found := s.index[place(index, key)]
	all := make([]string, len(found))
	for i, p := range found {
		all[i] = p.bytes
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

func (s *shelf[T]) pack(o T) (string, error) {
	bytes, err := s.kind.pack(s.kind.trim(o))
	if err != nil {
		return "", fmt.Errorf("keeping %T %s/%s: %w", o, o.GetNamespace(), o.GetName(), err)
	}
	return s.dict.compress(bytes), nil
}

// set puts an object in its place, or takes it away where there are no bytes, and gives what was there.
func (s *shelf[T]) set(name, bytes string) (before, after T) {
	after = s.read(bytes)
	s.lock.Lock()
	defer s.lock.Unlock()
	p, there := s.objects[name]
	if !there {
		p = &packed{}
	}
	before = s.read(p.bytes)
	was, is := s.places(before), s.places(after)
	for _, at := range was {
		if !slices.Contains(is, at) {
			s.remove(at, p)
		}
	}
	for _, at := range is {
		if !slices.Contains(was, at) {
			s.index[at] = append(s.index[at], p)
		}
	}
	p.bytes = bytes
	if bytes == "" {
		delete(s.objects, name)
	} else if !there {
		s.objects[name] = p
	}
	return before, after
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

func (s *shelf[T]) tell(before, after T) {
	s.lock.RLock()
	changed := s.changed
	s.lock.RUnlock()
	var none T
	if changed != nil && (before != none || after != none) {
		changed(before, after)
	}
}

// feed is a watch of one namespace, or of all under the empty name, that keeps a shelf as the API server has it.
type feed[T kept] struct {
	shelf     *shelf[T]
	namespace string
	reflector *toolscache.Reflector
	filled    chan struct{} // closed once all that there was at the start is there
	once      sync.Once
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

// parcel is an object on its way from the list at the start of a watch to the shelf.
type parcel struct{ name, bytes string }

// GetObjectMeta is what client-go takes an object's name from.
func (p *parcel) GetObjectMeta() metav1.Object {
	namespace, name, _ := strings.Cut(p.name, "/")
	return &metav1.ObjectMeta{Namespace: namespace, Name: name}
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
		bytes, err := f.shelf.pack(o)
		return &parcel{o.GetNamespace() + "/" + o.GetName(), bytes}, err
	}
	return nil, fmt.Errorf("a watch of %s gave a %T", f.shelf.kind.resource, obj)
}

// Add is called for an object that has come.
func (f *feed[T]) Add(obj any) error { return f.Update(obj) }

// Update is called for an object that has changed.
func (f *feed[T]) Update(obj any) error {
	p, err := f.parcel(obj)
	if err != nil {
		return err
	}
	f.shelf.tell(f.shelf.set(p.name, p.bytes))
	return nil
}

// Delete is called for an object that has gone.
func (f *feed[T]) Delete(obj any) error {
	p, err := f.parcel(obj)
	if err != nil {
		return err
	}
	f.shelf.tell(f.shelf.set(p.name, ""))
	return nil
}

// Replace is called with all objects, at the start and where the watch has missed something. What differs is told, except
// at the start.
func (f *feed[T]) Replace(list []any, _ string) error {
	tell := func(T, T) {}
	select {
	case <-f.filled:
		tell = f.shelf.tell
	default:
	}
	there := make(map[string]struct{}, len(list))
	for i, obj := range list {
		p, err := f.parcel(obj)
		if err != nil {
			return err
		}
		list[i] = nil // packed, or given away
		there[p.name] = struct{}{}
		tell(f.shelf.set(p.name, p.bytes))
	}
	for _, name := range f.shelf.names() {
		namespace, _, _ := strings.Cut(name, "/")
		if _, ok := there[name]; !ok && (f.namespace == "" || f.namespace == namespace) {
			tell(f.shelf.set(name, ""))
		}
	}
	f.once.Do(func() { close(f.filled) })
	return nil
}

// Resync is never called for: nothing is told twice.
func (f *feed[T]) Resync() error { return nil }
