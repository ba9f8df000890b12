package annotator

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// expectationLimit is how long to wait until the cache shows a write of ours. A write that was undone before the cache
// saw it never shows there, and must not block its Service for ever.
const expectationLimit = 2 * time.Second

// expectations are the writes for each Service that the cache does not show yet, as in Kubernetes' own controllers.
// Without them, a decision that does not see the writes of the last one would repeat it, with its Events.
type expectations struct {
	now    func() time.Time
	lock   sync.Mutex
	unseen map[types.NamespacedName]map[written]expected
}

// written is an object that was written, by kind and name, in the Service's namespace.
type written struct{ kind, name string }

// expected is what the cache has to show: the version that was written, or that the UID is gone.
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

// finder returns an object from the cache; nil where there is none.
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

// shown reports whether the cached object, nil for none, has the version that was written or a later one.
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
