package annotator

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// expectationLimit is how long a write of ours is waited for in the cache. One that was undone before the cache saw it
// never shows there, and must not hold its Service up for good.
const expectationLimit = 2 * time.Second

// expectations are the writes of each Service's last decision that the cache does not show yet, as in the controllers
// of Kubernetes. A decision that does not see its own writes is made twice, and its Events are told twice.
type expectations struct {
	now    func() time.Time
	lock   sync.Mutex
	unseen map[types.NamespacedName]map[written]expected
}

// written is one object that was written, by kind and name; it is of the Service's namespace.
type written struct{ kind, name string }

// expected is the version written, or the uid removed.
type expected struct {
	version string
	removed types.UID
	until   time.Time
}

func newExpectations(now func() time.Time) *expectations {
	return &expectations{now: now, unseen: map[types.NamespacedName]map[written]expected{}}
}

func (e *expectations) wrote(service types.NamespacedName, kind string, o client.Object) {
	e.expect(service, written{kind, o.GetName()}, expected{version: o.GetResourceVersion()})
}

func (e *expectations) removed(service types.NamespacedName, kind string, o client.Object) {
	e.expect(service, written{kind, o.GetName()}, expected{removed: o.GetUID()})
}

func (e *expectations) expect(service types.NamespacedName, what written, x expected) {
	e.lock.Lock()
	defer e.lock.Unlock()
	if e.unseen[service] == nil {
		e.unseen[service] = map[written]expected{}
	}
	x.until = e.now().Add(expectationLimit)
	e.unseen[service][what] = x
}

// finder finds an object in the cache; nil where there is none.
type finder func(namespace, kind, name string) client.Object

// satisfied reports whether the cache shows every write that was made for the Service.
func (e *expectations) satisfied(service types.NamespacedName, cached finder) bool {
	e.lock.Lock()
	defer e.lock.Unlock()
	for what, x := range e.unseen[service] {
		if x.shown(cached(service.Namespace, what.kind, what.name)) || e.now().After(x.until) {
			delete(e.unseen[service], what)
		}
	}
	if len(e.unseen[service]) > 0 {
		return false
	}
	delete(e.unseen, service)
	return true
}

// shown reports whether the cached object is as it was written, or later; nil stands for no object.
func (x expected) shown(o client.Object) bool {
	if x.removed != "" {
		return o == nil || o.GetUID() != x.removed
	}
	if o == nil {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(o.GetResourceVersion(), x.version)
	return err != nil || order >= 0
}
