package store

import (
	"fmt"
	"hash/maphash"
	"slices"
	"sync"

	"grayscale.dev/grayscale/observe"
)

// objects are all objects of one kind that are kept, and indexes of them. A reflector's sink writes them.
type objects[T any] struct {
	resource   string // as in the API's paths
	codec      codec[T]
	indexes    []observe.Index[*T]
	dictionary dictionary

	lock    sync.RWMutex
	entries map[string]*entry[T]     // by "namespace/name"
	index   map[indexKey][]*entry[T] // by an index and a key in it
	changed func(before, after *T)
}

// entry is one object: as it is, or packed where the kind has a codec. The indexes point to it, and it changes under
// the lock.
type entry[T any] struct {
	object *T
	packed string
}

func (e entry[T]) empty() bool { return e.object == nil && e.packed == "" }

// indexKey is a hash of an index's name and a key in it. It is so long that no two are ever the same.
type indexKey [2]uint64

var seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

func hash(index, key string) indexKey {
	var out indexKey
	for i, seed := range seeds {
		var h maphash.Hash
		h.SetSeed(seed)
		_, _ = h.WriteString(index) // never fails
		_ = h.WriteByte(0)
		_, _ = h.WriteString(key)
		out[i] = h.Sum64()
	}
	return out
}

func newObjects[T any](resource string, c codec[T], indexes ...observe.Index[*T]) *objects[T] {
	return &objects[T]{resource: resource, codec: c, indexes: indexes,
		entries: map[string]*entry[T]{}, index: map[indexKey][]*entry[T]{}}
}

// get is the object of a name; nil where there is none.
func (o *objects[T]) get(namespace, name string) *T {
	var found entry[T]
	o.lock.RLock()
	if e, ok := o.entries[namespace+"/"+name]; ok {
		found = *e
	}
	o.lock.RUnlock()
	return o.read(found)
}

// has reports whether there is an object of a name.
func (o *objects[T]) has(namespace, name string) bool {
	o.lock.RLock()
	defer o.lock.RUnlock()
	_, ok := o.entries[namespace+"/"+name]
	return ok
}

// list are the objects that an index has under a key.
func (o *objects[T]) list(by observe.Index[*T], key string) []*T {
	at := hash(by.Name, key)
	o.lock.RLock()
	out, packed := make([]*T, len(o.index[at])), make([]string, 0, 1)
	for i, e := range o.index[at] {
		if out[i] = e.object; e.object == nil {
			packed = append(packed, e.packed)
		}
	}
	o.lock.RUnlock()
	for i, text := range packed {
		out[i] = o.unpack(text)
	}
	return out
}

// keys are the "namespace/name" of all objects.
func (o *objects[T]) keys() []string {
	o.lock.RLock()
	defer o.lock.RUnlock()
	out := make([]string, 0, len(o.entries))
	for key := range o.entries {
		out = append(out, key)
	}
	return out
}

// pack makes the entry of an object.
func (o *objects[T]) pack(object *T) (entry[T], error) {
	if o.codec.pack == nil {
		return entry[T]{object: object}, nil
	}
	plain, err := o.codec.pack(object)
	if err != nil {
		return entry[T]{}, err
	}
	return entry[T]{packed: o.dictionary.compress(plain)}, nil
}

// read is nil for an empty entry.
func (o *objects[T]) read(e entry[T]) *T {
	if e.packed == "" {
		return e.object
	}
	return o.unpack(e.packed)
}

func (o *objects[T]) unpack(packed string) *T {
	plain, err := o.dictionary.decompress(packed)
	if err == nil {
		var object *T
		if object, err = o.codec.unpack(plain); err == nil {
			return object
		}
	}
	panic(fmt.Sprintf("one of the %s was packed and cannot be unpacked: %v", o.resource, err))
}

// item is an object on its way into the store, or the name of one that is not there any more.
type item[T any] struct {
	key     string // "namespace/name"
	entry   entry[T]
	indexed []indexKey
}

// indexed are the keys under which an object is found, each once.
func (o *objects[T]) indexed(object *T) []indexKey {
	if object == nil {
		return nil
	}
	var out []indexKey
	for _, by := range o.indexes {
		for _, key := range by.Keys(object) {
			if at := hash(by.Name, key); !slices.Contains(out, at) {
				out = append(out, at)
			}
		}
	}
	return out
}

// set stores an item, and returns the object that was there before.
func (o *objects[T]) set(is item[T]) *T {
	o.lock.Lock()
	defer o.lock.Unlock()
	e, there := o.entries[is.key]
	if !there {
		e = &entry[T]{}
	}
	before := o.read(*e)
	was := o.indexed(before)
	for _, at := range was {
		if !slices.Contains(is.indexed, at) {
			o.unindex(at, e)
		}
	}
	for _, at := range is.indexed {
		if !slices.Contains(was, at) {
			o.index[at] = append(o.index[at], e)
		}
	}
	*e = is.entry
	switch {
	case is.entry.empty():
		delete(o.entries, is.key)
	case !there:
		o.entries[is.key] = e
	}
	return before
}

func (o *objects[T]) unindex(at indexKey, e *entry[T]) {
	left := o.index[at]
	if i := slices.Index(left, e); i >= 0 {
		left[i] = left[len(left)-1]
		left[len(left)-1] = nil
		left = left[:len(left)-1]
	}
	if len(left) == 0 {
		delete(o.index, at)
		return
	}
	o.index[at] = left
}

// notify has each change from now on passed to a function; nil stands for no object. It does not hear of what is there
// already.
func (o *objects[T]) notify(changed func(before, after *T)) {
	o.lock.Lock()
	defer o.lock.Unlock()
	o.changed = changed
}

// change stores an item, and notifies.
func (o *objects[T]) change(is item[T]) {
	before := o.set(is)
	o.lock.RLock()
	changed := o.changed
	o.lock.RUnlock()
	if changed != nil && (before != nil || !is.entry.empty()) {
		changed(before, o.read(is.entry))
	}
}
