package annotator

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// echoLimit is how long a write of ours is waited for in the cache. One that was undone before the cache saw it never
// comes back, and must not hold its Service up for good.
const echoLimit = 2 * time.Second

// echoes remembers what each Service's last decision wrote until the caches show it: what is decided without seeing one's
// own writes is decided twice, and its Events are told twice.
type echoes struct {
	now     func() time.Time
	lock    sync.Mutex
	waiting map[types.NamespacedName]map[echo]expected
}

// echo is one object, told apart by kind and name; it is of the Service's namespace.
type echo struct{ kind, name string }

// expected is the version written, or the uid removed.
type expected struct {
	version string
	removed types.UID
	until   time.Time
}

func newEchoes(now func() time.Time) *echoes {
	return &echoes{now: now, waiting: map[types.NamespacedName]map[echo]expected{}}
}

func (e *echoes) wrote(service types.NamespacedName, kind string, o client.Object) {
	e.expect(service, echo{kind, o.GetName()}, expected{version: o.GetResourceVersion()})
}

func (e *echoes) removed(service types.NamespacedName, kind string, o client.Object) {
	e.expect(service, echo{kind, o.GetName()}, expected{removed: o.GetUID()})
}

func (e *echoes) expect(service types.NamespacedName, what echo, x expected) {
	e.lock.Lock()
	defer e.lock.Unlock()
	if e.waiting[service] == nil {
		e.waiting[service] = map[echo]expected{}
	}
	x.until = e.now().Add(echoLimit)
	e.waiting[service][what] = x
}

// missing reports whether the caches still lag behind a write made for the Service. cached finds an object, nil where
// there is none.
func (e *echoes) missing(service types.NamespacedName, cached func(namespace, kind, name string) client.Object) bool {
	e.lock.Lock()
	defer e.lock.Unlock()
	for what, x := range e.waiting[service] {
		if x.seen(cached(service.Namespace, what.kind, what.name)) || e.now().After(x.until) {
			delete(e.waiting[service], what)
		}
	}
	if len(e.waiting[service]) == 0 {
		delete(e.waiting, service)
		return false
	}
	return true
}

func (x expected) seen(o client.Object) bool {
	if x.removed != "" {
		return o == nil || o.GetUID() != x.removed
	}
	if o == nil {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(o.GetResourceVersion(), x.version)
	return err != nil || order >= 0
}
