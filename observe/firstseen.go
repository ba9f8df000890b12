package observe

import (
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

// FirstSeen records since when this process has seen the objects of each Service with a release in their current
// state. The times inside the objects are no substitute: they come from other clocks, of nodes and of earlier leaders,
// or were taken long before they were written.
type FirstSeen struct {
	lock     sync.Mutex
	services map[types.NamespacedName]*serviceSeen
}

// serviceSeen is what this process has seen of one Service.
type serviceSeen struct {
	virtualService, destinationRule versionSeen
	// others are all of the users' DestinationRules for its host, taken together.
	others versionSeen
	// ready is since when each pod has been seen ready.
	ready []podSeen
}

// versionSeen is a version of an object, and since when the times in it count.
type versionSeen struct {
	version string
	since   time.Time
}

// podSeen is one pod's readiness. A new entry replaces it when the label or the readiness changes.
type podSeen struct {
	pod     types.UID
	version string    // the pod's version label: with another one the pod is in another subset
	changed time.Time // by the clock of the pod's node: it shows only that readiness changed
	since   time.Time // by the clock of this process
}

// NewFirstSeen is the FirstSeen of a process that has just started.
func NewFirstSeen() *FirstSeen {
	return &FirstSeen{services: map[types.NamespacedName]*serviceSeen{}}
}

// Wrote makes the times in a derived object count, because this process took them from its own clock and wrote the
// object at once. kind is KindVirtualService or KindDestinationRule, version is the resourceVersion.
func (s *FirstSeen) Wrote(service types.NamespacedName, kind, version string) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if known := s.of(service); kind == KindVirtualService {
		known.virtualService.version = version
	} else {
		known.destinationRule.version = version
	}
}

// Forget drops what was seen of a Service that has no release any more.
func (s *FirstSeen) Forget(service types.NamespacedName) {
	s.lock.Lock()
	defer s.lock.Unlock()
	delete(s.services, service)
}

// of is what has been seen of a Service. The caller holds the lock.
func (s *FirstSeen) of(service types.NamespacedName) *serviceSeen {
	known := s.services[service]
	if known == nil {
		known = &serviceSeen{}
		s.services[service] = known
	}
	return known
}

// objects is since when Istio's objects have been in their current state.
func (s *FirstSeen) objects(service types.NamespacedName, m istio.Mesh, at Moment) settle.FirstSeen {
	if s == nil {
		return settle.FirstSeen{}
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	known := s.of(service)
	// After an outage of the API server, the mesh learns of the derived objects later than this process does.
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

// readyPods is since when each of the pods has been seen ready with its current version label. It forgets all other
// pods of the Service.
func (s *FirstSeen) readyPods(service types.NamespacedName, now time.Time, pods []*Pod) map[types.UID]time.Time {
	if s == nil {
		return nil
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	known, before := s.of(service), map[types.UID]podSeen{}
	for _, was := range known.ready {
		before[was.pod] = was
	}
	known.ready = make([]podSeen, 0, len(pods))
	out := make(map[types.UID]time.Time, len(pods))
	for _, p := range pods {
		if !p.Ready {
			continue
		}
		is := podSeen{pod: p.UID, version: p.Labels.get(release.VersionLabel), changed: p.Changed, since: now}
		if was, seen := before[p.UID]; seen && was.version == is.version && was.changed.Equal(is.changed) {
			is = was
		}
		known.ready, out[p.UID] = append(known.ready, is), is.since
	}
	return out
}
