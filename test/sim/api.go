package sim

import (
	"errors"
	"slices"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var (
	errConflict = errors.New("the object has been modified")
	errExists   = errors.New("the object exists already")
	errNotFound = errors.New("the object is not found")
	errUnserved = errors.New("the API server does not serve this kind")
)

// api is the API server: the latest version of every object, and everybody who watches.
type api struct {
	w       *world
	version int64
	uid     int64
	tables  [kinds][]object
	watches []*watch
	served  bool // Istio's kinds exist
}

// change is one write as watches tell it.
type change struct {
	object object // for a removal the last version there was
	gone   bool
}

func (a *api) list(k kind) []object { return a.tables[k] }

func find(table []object, name string) object {
	for _, o := range table {
		if o.id().name == name {
			return o
		}
	}
	return nil
}

// get is the object of that type and name; nil where there is none.
func get[T object](table []object, name string) (T, bool) {
	o, ok := find(table, name).(T)
	return o, ok
}

func (a *api) unserved(k kind) bool {
	return !a.served && (k == virtualServices || k == destinationRules)
}

func (a *api) create(by string, o object) error {
	id := o.id()
	switch {
	case a.unserved(id.kind):
		return errUnserved
	case find(a.tables[id.kind], id.name) != nil:
		return errExists
	}
	a.uid++
	id.uid = a.uid
	if id.created == 0 { // else the door was asked about it, by which time it has its age
		id.created = a.w.now
	}
	a.stamp(o)
	a.tables[id.kind] = append(a.tables[id.kind], o)
	a.tellAll(by, nil, change{object: o})
	return nil
}

// update stores a new version. at is the version that it was made from, 0 for any; an object that was deleted and
// created again is another one, whatever at is.
func (a *api) update(by string, o object, at int64) error {
	id := o.id()
	if a.unserved(id.kind) {
		return errUnserved
	}
	i := slices.IndexFunc(a.tables[id.kind], func(x object) bool { return x.id().name == id.name })
	if i < 0 || a.tables[id.kind][i].id().uid != id.uid {
		return errNotFound
	}
	before := a.tables[id.kind][i]
	if at != 0 && before.id().version != at {
		return errConflict
	}
	a.stamp(o)
	a.tables[id.kind][i] = o
	a.tellAll(by, before, change{object: o})
	return nil
}

func (a *api) remove(by string, k kind, name string, at int64) error {
	if a.unserved(k) {
		return errUnserved
	}
	i := slices.IndexFunc(a.tables[k], func(x object) bool { return x.id().name == name })
	if i < 0 {
		return errNotFound
	}
	gone := a.tables[k][i]
	if at != 0 && gone.id().version != at {
		return errConflict
	}
	a.version++
	a.tables[k] = slices.Delete(a.tables[k], i, i+1)
	a.tellAll(by, gone, change{object: gone, gone: true})
	return nil
}

func (a *api) stamp(o object) {
	a.version++
	o.id().version = a.version
	switch o := o.(type) {
	case *deployment:
		o.forget() // somebody has looked at it before it is stored
	case *replicaSet:
		o.memo = nil
	case *pod:
		o.memo, o.read = nil, nil
	case *virtualService:
		o.stamp(&o.spec.ObjectMeta)
	case *destinationRule:
		o.stamp(&o.spec.ObjectMeta)
	}
	if a.w.tell {
		a.w.stored = append(a.w.stored, stored{o, textOf(o)})
	}
}

// stamp has one of Istio's objects carry what the API server knows of it.
func (i *identity) stamp(o *metav1.ObjectMeta) {
	is := i.meta(o.Namespace)
	o.UID, o.ResourceVersion, o.CreationTimestamp = is.UID, is.ResourceVersion, is.CreationTimestamp
}

func (a *api) tellAll(by string, before object, c change) {
	a.w.judge.wrote(by, before, c)
	for _, watch := range a.watches {
		watch.tell(c)
	}
}

// podsOf are the pods of a ReplicaSet that are not on their way out.
func podsOf(table []object, set int64) []*pod {
	var out []*pod
	for _, o := range table {
		if p := o.(*pod); p.owner == set && !p.terminating {
			out = append(out, p)
		}
	}
	return out
}

// setsOf are a Deployment's ReplicaSets, the oldest first.
func setsOf(table []object, deployment int64) []*replicaSet {
	var out []*replicaSet
	for _, o := range table {
		if s := o.(*replicaSet); s.owner == deployment {
			out = append(out, s)
		}
	}
	return out
}

// owns: the pod is of one of the ReplicaSets.
func owns(sets []*replicaSet, p *pod) bool {
	return slices.ContainsFunc(sets, func(s *replicaSet) bool { return s.uid == p.owner })
}

func uidText(uid int64) string { return strconv.FormatInt(uid, 10) }
