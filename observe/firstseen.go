package observe

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
	"grayscale.dev/grayscale/routing/settle"
)

// Kinds of the derived objects.
const (
	KindVirtualService  = "VirtualService"
	KindDestinationRule = "DestinationRule"
)

// FirstSeen is since when this process has seen the objects of each Service with a release as they are. The times that
// objects carry were told by other clocks, of nodes and of replicas that led before, or long before the write that
// carries them.
type FirstSeen struct {
	lock     sync.Mutex
	services map[types.NamespacedName]*serviceSeen
}

// serviceSeen is what has been seen of one Service.
type serviceSeen struct {
	virtualService, destinationRule versionSeen
	// others are the users' DestinationRules for its host, together.
	others versionSeen
	// ready is since when each pod has been seen ready.
	ready []podSeen
}

// versionSeen is a version of an object, and since when the times in it count.
type versionSeen struct {
	version string
	since   time.Time
}

// podSeen is one pod's readiness, for as long as nothing of it changes.
type podSeen struct {
	pod     types.UID
	version string    // of the pod's label: under another one it is another subset's
	changed time.Time // by the clock of the pod's node, good for telling that it changed
	since   time.Time // by ours
}

// NewFirstSeen is that of a process that has just started.
func NewFirstSeen() *FirstSeen {
	return &FirstSeen{services: map[types.NamespacedName]*serviceSeen{}}
}

// Wrote makes the times in a derived object count: this process wrote it, by its own clock and at once. kind is one of
// the derived objects', version its resourceVersion.
func (s *FirstSeen) Wrote(service types.NamespacedName, kind, version string) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if known := s.of(service); kind == KindVirtualService {
		known.virtualService.version = version
	} else {
		known.destinationRule.version = version
	}
}

// Forget drops what has been seen of a Service without a release.
func (s *FirstSeen) Forget(service types.NamespacedName) {
	s.lock.Lock()
	defer s.lock.Unlock()
	delete(s.services, service)
}

// of is what has been seen of a Service; the lock is held.
func (s *FirstSeen) of(service types.NamespacedName) *serviceSeen {
	known := s.services[service]
	if known == nil {
		known = &serviceSeen{}
		s.services[service] = known
	}
	return known
}

// objects is since when Istio's objects have been as they are.
func (s *FirstSeen) objects(service types.NamespacedName, m istio.Mesh, at Moment) settle.FirstSeen {
	if s == nil {
		return settle.FirstSeen{}
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	known := s.of(service)
	// The mesh learned of the derived objects later than this process did where it was cut off.
	return settle.FirstSeen{
		RoutesSince:     settle.Latest(known.virtualService.asOf(VersionOf(m.VirtualService), at.Now), at.Back),
		RuleSince:       settle.Latest(known.destinationRule.asOf(VersionOf(m.DestinationRule), at.Now), at.Back),
		OtherRulesSince: known.others.asOf(versionsOf(m.OtherDestinationRules), at.Now),
	}
}

func (v *versionSeen) asOf(version string, now time.Time) time.Time {
	if v.version != version {
		*v = versionSeen{version, now}
	}
	return v.since
}

// readyPods is since when each of the pods has been seen ready under its version label; others are forgotten.
func (s *FirstSeen) readyPods(service types.NamespacedName, now time.Time, groups []podGroup) map[types.UID]time.Time {
	if s == nil {
		return nil
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	known, before := s.of(service), map[types.UID]podSeen{}
	for _, was := range known.ready {
		before[was.pod] = was
	}
	known.ready = nil
	out := map[types.UID]time.Time{}
	for _, g := range groups {
		if !g.ready {
			continue
		}
		known.ready = slices.Grow(known.ready, len(g.pods))
		for _, p := range g.pods {
			is := podSeen{pod: p.UID, version: g.labels[release.VersionLabel], changed: p.Changed, since: now}
			if was, seen := before[p.UID]; seen && was.version == is.version && was.changed.Equal(is.changed) {
				is = was
			}
			known.ready, out[p.UID] = append(known.ready, is), is.since
		}
	}
	return out
}
