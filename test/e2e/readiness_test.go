package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"

	"grayscale.dev/grayscale/test/harness"
)

// A candidate that loses its last ready pod gets no traffic until it is ready again, with half of the requests as with
// all of them.
func TestCandidateLosesItsPods(t *testing.T) {
	s, losses := startFailing(t, "50")
	s.probes("web-v2", false)
	harness.WaitCondition(t, s.ns, "web-v2", "grayscale.dev/Programmed", "False", "no pod")
	harness.WaitEvent(t, s.ns, "web-v2", "NoReadyPods", "no pod")
	s.left("web-v2")
	s.served(split{"v1": 100})

	s.probes("web-v2", true)
	s.programmed("web-v2", "canary 50% of web")
	s.served(split{"v1": 50, "v2": 50})

	s.annotate("web-v2", "weight=100")
	s.programmed("web-v2", "canary 100% of web")
	s.probes("web-v2", false)
	s.left("web-v2")
	s.served(split{"v1": 100})
	s.probes("web-v2", true)
	s.programmed("web-v2", "canary 100% of web")
	s.served(split{"v2": 100})
	losses.only("v2", 1)
}

// Stable loses its last ready pod: the candidate takes its requests too until it is ready again.
func TestStableLosesItsPods(t *testing.T) {
	s, losses := startFailing(t, "20")
	s.probes("web-v1", false)
	s.left("web-v1")
	s.served(split{"v2": 100})

	s.probes("web-v1", true)
	s.served(split{"v1": 80, "v2": 20})
	s.programmed("web-v2", "canary 20% of web")
	losses.only("v1", 0.8)
}

// A candidate's readiness fails and comes back every second for a minute. Stable answers every request meant for it,
// and the candidate is asked again when it has been ready for a while: routes do not flap with it.
func TestCandidateFlaps(t *testing.T) {
	s, losses := startFailing(t, "50")
	s.flap("web-v2")
	s.programmed("web-v2", "canary 50% of web")
	s.served(split{"v1": 50, "v2": 50})
	losses.only("v2", 0.5)
	losses.calm("v2")
}

// Stable's readiness does: the candidate is the one that answers then.
func TestStableFlaps(t *testing.T) {
	s, losses := startFailing(t, "20")
	s.flap("web-v1")
	s.served(split{"v1": 80, "v2": 20})
	s.programmed("web-v2", "canary 20% of web")
	losses.only("v1", 0.8)
	losses.calm("v1")
}

const (
	flaps     = 60
	flapEvery = time.Second
	// reaction bounds the time between Envoy's losing a version's last endpoint and its new routes. Both follow from the same
	// change of a pod on two ways, through the EndpointSlice and through us, and take some 20 ms each; requests in
	// between have nowhere to go. Nobody can promise them: the pod has failed with them.
	reaction = 500 * time.Millisecond
	// settled is when a version that is ready may come back: only after it has been ready for as long as endpoints are given to
	// reach every Envoy, 2 s by default, so that one which fails every second stays out. Half of it is for what
	// grayscale learns late. On a busy machine some of the flaps last as long.
	settled = time.Second
)

// losses are what a story loses to pods that fail with requests on them.
type losses struct {
	story
	load    *harness.Load
	history history
	before  map[string]int // what harness.Unserved said when the load began
}

// startFailing brings a canary to its weight under a load that may lose requests.
func startFailing(t *testing.T, weight string) (story, losses) {
	t.Helper()
	s := newStory(t)
	history := s.history()
	s.apply(all(webService, web("web-v1")))
	harness.WaitReady(t, s.ns, "web-v1")
	harness.WaitServed(t, s.url)
	before := harness.Unserved(t, s.ns)
	load := harness.StartCountedLoad(t, s.url, loadRate)
	s.apply(web("web-v2", "strategy: canary", fmt.Sprintf("weight: %q", weight)))
	s.programmed("web-v2", "canary "+weight+"% of web")
	return s, losses{s, load, history, before}
}

// only fails the test where a request was lost that was not meant for the failing version, or more of those than it gets
// within reaction each time that routes leave it. share is its share of the requests.
func (l losses) only(version string, share float64) {
	l.t.Helper()
	unserved, report := harness.Unserved(l.t, l.ns), l.load.Stop()
	departures := l.history.departures(version)
	bound := int(float64(departures) * share * loadRate * reaction.Seconds())
	l.t.Logf("%d of %d requests were lost; routes left %s %d times; they were written %d times", report.Lost, report.Sent, version, departures, len(l.history.routes()))
	if departures == 0 || report.Sent == 0 {
		l.t.Errorf("routes left %s %d times, under %d requests", version, departures, report.Sent)
	}
	if report.Lost > bound {
		l.t.Errorf("%d of %d requests were lost, more than %d: %q", report.Lost, report.Sent, bound, report.Errors)
	}
	for subset, n := range unserved {
		if n -= l.before[subset]; subset != version && n > 0 {
			l.t.Errorf("%d requests to subset %q, which never failed, found no pod", n, subset)
		}
	}
	if n := unserved[version]; report.Lost > n {
		l.t.Errorf("%d requests were lost, and only %d of them for want of a pod of %s: %q", report.Lost, n, version, report.Errors)
	}
	l.history.consistent()
}

// calm fails the test where routes were written more often than twice for each time that a version was ready long enough to
// get requests: when it comes and when it goes. It has not gone at the end; the candidate's share has its own write in the beginning.
func (l losses) calm(version string) {
	l.t.Helper()
	spells := l.history.readySpells(version, settled)
	l.t.Logf("%s was ready for %v or more %d times", version, settled, spells)
	if n := len(l.history.routes()); n > 2*spells {
		l.t.Errorf("the VirtualService was written %d times in %d flaps of %s, more than twice for each time", n, flaps, version)
	}
}

// flap lets the readiness of a Deployment's pods fail for half of every second, all at once. They end ready.
func (s story) flap(deployment string) {
	s.t.Helper()
	change := time.NewTicker(flapEvery / 2)
	defer change.Stop()
	for range flaps {
		s.probes(deployment, false)
		<-change.C
		s.probes(deployment, true)
		<-change.C
	}
}

// probes lets the readiness probes of a Deployment's pods fail or succeed. The pods answer all the same, as pods do whose
// probe fails for a dependency.
func (s story) probes(deployment string, succeed bool) {
	s.t.Helper()
	patch := `{"metadata":{"annotations":{"lab.grayscale.dev/ready":"false"}}}`
	if succeed {
		patch = `{"metadata":{"annotations":{"lab.grayscale.dev/ready":null}}}`
	}
	for name := range s.pods(deployment) {
		_, err := harness.Kube().CoreV1().Pods(s.ns).Patch(context.Background(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

// left waits until Envoy routes nothing to the Deployment's version.
func (s story) left(deployment string) {
	s.t.Helper()
	version := deployment[len("web-"):]
	harness.Eventually(s.t, "routes leave "+version, func() error {
		for _, to := range s.virtualService("web").Spec.Http[0].Route {
			if to.Destination.Subset == version {
				return fmt.Errorf("it still has %d", to.Weight)
			}
		}
		return nil
	})
	harness.WaitServed(s.t, s.url) // the routes are written, and on their way to Envoy
}

// scale sets spec.replicas through the scale subresource, as an autoscaler does.
func (s story) scale(deployment string, replicas int32) {
	s.t.Helper()
	api := harness.Kube().AppsV1().Deployments(s.ns)
	if err := retry.RetryOnConflict(retry.DefaultRetry, func() error { // as an autoscaler does
		scale, err := api.GetScale(context.Background(), deployment, metav1.GetOptions{})
		if err != nil {
			return err
		}
		scale.Spec.Replicas = replicas
		_, err = api.UpdateScale(context.Background(), deployment, scale, metav1.UpdateOptions{})
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
}
