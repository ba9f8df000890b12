package ha

import (
	"fmt"
	"testing"
	"time"

	"grayscale.dev/grayscale/test/harness"
)

// A candidate that loses its last ready pod gets no traffic until it is ready again. It had half of the requests, or
// all of them.
func TestCandidateLosesItsPods(t *testing.T) {
	s, losses := startFailing(t, 50)
	s.probes("web-v2", false)
	harness.WaitCondition(t, s.NS, "web-v2", "grayscale.dev/Programmed", "False", "no pod")
	harness.WaitEvent(t, s.NS, "web-v2", "NoReadyPods", "no pod")
	s.left("web-v2")
	s.Served(map[string]float64{"v1": 100})

	s.probes("web-v2", true)
	s.programmed(50)
	s.Served(map[string]float64{"v1": 50, "v2": 50})

	s.weigh(100)
	s.programmed(100)
	s.probes("web-v2", false)
	s.left("web-v2")
	s.Served(map[string]float64{"v1": 100})
	s.probes("web-v2", true)
	s.programmed(100)
	s.Served(map[string]float64{"v2": 100})
	losses.only("v2", 1)
}

// Stable loses its last ready pod: the candidate takes its requests too until it is ready again.
func TestStableLosesItsPods(t *testing.T) {
	s, losses := startFailing(t, 20)
	s.probes("web-v1", false)
	s.left("web-v1")
	s.Served(map[string]float64{"v2": 100})

	s.probes("web-v1", true)
	s.Served(map[string]float64{"v1": 80, "v2": 20})
	s.programmed(20)
	losses.only("v1", 0.8)
}

// A candidate's readiness fails and comes back every second for 20 seconds. Stable answers every request meant for it,
// and the candidate is asked again when it has been ready for a while: routes do not flap with it.
func TestCandidateFlaps(t *testing.T) {
	s, losses := startFailing(t, 50)
	s.flap("web-v2")
	s.programmed(50)
	s.Served(map[string]float64{"v1": 50, "v2": 50})
	losses.only("v2", 0.5)
	losses.calm("v2")
}

// Stable's readiness fails and comes back every second: the candidate answers then.
func TestStableFlaps(t *testing.T) {
	s, losses := startFailing(t, 20)
	s.flap("web-v1")
	s.Served(map[string]float64{"v1": 80, "v2": 20})
	s.programmed(20)
	losses.only("v1", 0.8)
	losses.calm("v1")
}

const (
	// failingRate is in requests per second: enough to hit a window of 20 ms.
	failingRate = 60
	flaps       = 20
	flapEvery   = time.Second
	// reaction bounds the time between Envoy's losing a version's last endpoint and its new routes. Both follow from the
	// same change of a pod on two ways, through the EndpointSlice and through us, and take some 20 ms each; requests in
	// between have nowhere to go. Nobody can promise them: the pod has failed with them.
	reaction = 500 * time.Millisecond
	// settled is when a version that is ready may come back: only after it has been ready for as long as endpoints are
	// given to reach every Envoy, 2 s by default, so that one which fails every second stays out. Half of it is for what
	// grayscale learns late. On a busy machine some of the flaps last as long.
	settled = time.Second
)

// losses are the requests that a story loses because pods fail while they serve them.
type losses struct {
	story
	load   *harness.Load
	before map[string]int // what harness.Unserved said when the load began
}

// startFailing brings a canary to its weight under a load that may lose requests.
func startFailing(t *testing.T, percent int) (story, losses) {
	t.Helper()
	t.Parallel()
	s := newStory(t)
	before := harness.Unserved(t, s.NS)
	load := harness.StartCountedLoad(t, s.URL, failingRate)
	s.canary(percent)
	return s, losses{s, load, before}
}

// only fails the test if a request was lost that was not meant for the failing version, or more of those than it
// gets within reaction each time that routes leave it. share is its share of the requests.
func (l losses) only(version string, share float64) {
	l.T.Helper()
	unserved, report := harness.Unserved(l.T, l.NS), l.load.Stop()
	departures := l.departures(version)
	bound := int(float64(departures) * share * failingRate * reaction.Seconds())
	l.T.Logf("%d of %d requests were lost; routes left %s %d times; they were written %d times", report.Lost, report.Sent, version, departures, len(l.routes()))
	if departures == 0 || report.Sent == 0 {
		l.T.Errorf("routes left %s %d times, under %d requests", version, departures, report.Sent)
	}
	if report.Lost > bound {
		l.T.Errorf("%d of %d requests were lost, more than %d: %q", report.Lost, report.Sent, bound, report.Errors)
	}
	for subset, n := range unserved {
		if n -= l.before[subset]; subset != version && n > 0 {
			l.T.Errorf("%d requests to subset %q, which never failed, found no pod", n, subset)
		}
	}
	if n := unserved[version]; report.Lost > n {
		l.T.Errorf("%d requests were lost, and only %d of them for want of a pod of %s: %q", report.Lost, n, version, report.Errors)
	}
	l.consistent()
}

// calm fails the test if routes were written more often than twice for each time that a version was ready long
// enough to get requests: when it comes and when it goes. It has not gone at the end; the candidate's share has its own
// write in the beginning.
func (l losses) calm(version string) {
	l.T.Helper()
	spells := l.readySpells(version, settled)
	l.T.Logf("%s was ready for %v or more %d times", version, settled, spells)
	if n := len(l.routes()); n > 2*spells {
		l.T.Errorf("the VirtualService was written %d times in %d flaps of %s, more than twice for each time", n, flaps, version)
	}
}

// flap makes the readiness of all pods of a Deployment fail for half of every second. At the end they are ready.
func (s story) flap(deployment string) {
	s.T.Helper()
	change := time.NewTicker(flapEvery / 2)
	defer change.Stop()
	for range flaps {
		s.probes(deployment, false)
		<-change.C
		s.probes(deployment, true)
		<-change.C
	}
}

// left waits until Envoy routes nothing to the Deployment's version.
func (s story) left(deployment string) {
	s.T.Helper()
	version := deployment[len("web-"):]
	harness.Eventually(s.T, "routes leave "+version, func() error {
		for _, to := range s.Routes("web").Spec.Http[0].Route {
			if to.Destination.Subset == version {
				return fmt.Errorf("it still has %d", to.Weight)
			}
		}
		return nil
	})
	harness.WaitServed(s.T, s.URL) // the routes are written, and on their way to Envoy
}

// probes makes the readiness probes of a Deployment's pods fail or succeed.
func (s story) probes(deployment string, succeed bool) {
	s.T.Helper()
	s.Probes("release="+deployment, succeed)
}

// routes are the writes of VirtualServices so far.
func (l losses) routes() []harness.Write {
	l.T.Helper()
	return l.history.Writes(func(w harness.Write) bool { return w.Kind == "virtualservices" })
}

// departures is how often a version was taken out of the routes.
func (l losses) departures(version string) int {
	l.T.Helper()
	n, was := 0, false
	for _, w := range l.routes() {
		_, is := w.Weights[version]
		if was && !is {
			n++
		}
		was = is
	}
	return n
}

// readySpells is how many times a version has had a ready pod for at least so long, including the current time.
func (l losses) readySpells(version string, atLeast time.Duration) int {
	l.T.Helper()
	n, ready := 0, map[string]bool{}
	var since time.Time
	for _, w := range l.history.Writes(func(w harness.Write) bool { return w.Kind == "pods" }) {
		was := len(ready) > 0
		delete(ready, w.Name)
		if w.Ready && w.Version == version {
			ready[w.Name] = true
		}
		switch is := len(ready) > 0; {
		case is && !was:
			since = w.At
		case was && !is && w.At.Sub(since) >= atLeast:
			n++
		}
	}
	if len(ready) > 0 && time.Since(since) >= atLeast {
		n++
	}
	return n
}

// consistent fails the test if routes led to a subset that did not exist, at any instant.
func (l losses) consistent() {
	l.T.Helper()
	for _, b := range l.history.Breaches() {
		l.T.Errorf("routes led to a subset that did not exist: %+v", b)
	}
}
