package annotator

import (
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/routing/release"
)

// promptly is the part of Settings.Settle within which a write has to follow its decision for the times in it to count.
const promptly = 10

// memory is what this process has seen for itself of the Services with a release: when. The times that objects carry were
// told by other clocks, of nodes and of replicas that led before, or long before the write that carries them.
type memory struct {
	lock     sync.Mutex
	services map[types.NamespacedName]*remembered
}

// remembered is one Service's.
type remembered struct {
	derived byKind[sighting]
	// others are the users' DestinationRules for its host, together.
	others sighting
	// ready is since when each pod has been seen ready.
	ready []readiness
}

// sighting is the version of an object that the times in it are reckoned with, and since when they are.
type sighting struct {
	version string
	since   time.Time
}

// readiness is one pod's, for as long as nothing of it changes.
type readiness struct {
	pod     types.UID
	version string    // of the pod's label: under another one it is another subset's
	changed time.Time // by the clock of the pod's node, good for telling that it changed
	since   time.Time // by ours
}

func newMemory() *memory {
	return &memory{services: map[types.NamespacedName]*remembered{}}
}

// of gives what is remembered of a Service; the lock is held.
func (m *memory) of(service types.NamespacedName) *remembered {
	known := m.services[service]
	if known == nil {
		known = &remembered{}
		m.services[service] = known
	}
	return known
}

// vouch makes the times in a derived object count: this process wrote it, by its own clock and at once.
func (m *memory) vouch(service types.NamespacedName, kind, version string) {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.of(service).derived.of(kind).version = version
}

// since is when a derived object was first seen as it is, but for what this process wrote itself.
func (m *memory) since(service types.NamespacedName, kind, version string, now time.Time) time.Time {
	m.lock.Lock()
	defer m.lock.Unlock()
	return m.of(service).derived.of(kind).asOf(version, now)
}

// othersSince is when the users' DestinationRules were first seen as they are, told by the versions of all.
func (m *memory) othersSince(service types.NamespacedName, versions string, now time.Time) time.Time {
	m.lock.Lock()
	defer m.lock.Unlock()
	return m.of(service).others.asOf(versions, now)
}

func (s *sighting) asOf(version string, now time.Time) time.Time {
	if s.version != version {
		*s = sighting{version, now}
	}
	return s.since
}

// watched is since when each of the pods has been seen ready under its version label; others are forgotten.
func (m *memory) watched(service types.NamespacedName, now time.Time, pods []*corev1.Pod) map[types.UID]time.Time {
	m.lock.Lock()
	defer m.lock.Unlock()
	known, before := m.of(service), map[types.UID]readiness{}
	for _, was := range known.ready {
		before[was.pod] = was
	}
	known.ready = make([]readiness, 0, len(pods))
	out := make(map[types.UID]time.Time, len(pods))
	for _, p := range pods {
		if !ready(p) {
			continue
		}
		is := readiness{pod: p.UID, version: p.Labels[release.VersionLabel], changed: changed(p), since: now}
		if was, seen := before[p.UID]; seen && was.version == is.version && was.changed.Equal(is.changed) {
			is = was
		}
		known.ready, out[p.UID] = append(known.ready, is), is.since
	}
	return out
}

// forget ends what is remembered of a Service without a release.
func (m *memory) forget(service types.NamespacedName) {
	m.lock.Lock()
	defer m.lock.Unlock()
	delete(m.services, service)
}
