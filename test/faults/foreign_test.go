package faults

import (
	"fmt"
	"testing"
	"time"

	networking "istio.io/api/networking/v1"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/test/harness"
)

// A foreign VirtualService takes the host, to send its requests to the neighbour. The first one wins: a release keeps
// the host that it has, and waits for one that is taken. The neighbour's answers would show a mistake.
func TestForeignVirtualServiceTakesTheHost(t *testing.T) {
	t.Parallel()
	s := begin(t)
	s.foreign("before")
	s.servedByNeighbour()
	s.apply("web-v2", 10)
	message := harness.WaitCondition(t, s.NS, "web-v2", "grayscale.dev/Accepted", "False", "before")
	t.Logf("the candidate waits: %s", message)
	if pods := harness.PodUIDs(t, s.NS, "release=web-v2"); len(pods) != 0 {
		t.Errorf("the candidate is not held: %v", pods)
	}
	s.servedByNeighbour()

	s.must(harness.Istio().NetworkingV1().VirtualServices(s.NS).Delete(ctx, "before", metav1.DeleteOptions{}))
	fault := time.Now()
	s.programmed("web-v2", 10)
	s.Served(map[string]float64{"v1": 90, "v2": 10})
	s.quiet(fault)

	s.foreign("after")
	s.weigh(30)
	s.programmed("web-v2", 30)
	s.Served(map[string]float64{"v1": 70, "v2": 30})
	s.must(harness.Istio().NetworkingV1().VirtualServices(s.NS).Delete(ctx, "after", metav1.DeleteOptions{}))
	s.end(time.Now())
}

// foreign makes a foreign VirtualService for Service web.
func (s story) foreign(name string) {
	s.T.Helper()
	vs := &networkingv1.VirtualService{ObjectMeta: metav1.ObjectMeta{Name: name}}
	vs.Spec.Hosts = []string{"web." + s.NS + ".svc.cluster.local"}
	vs.Spec.Http = []*networking.HTTPRoute{{Route: []*networking.HTTPRouteDestination{{Destination: &networking.Destination{Host: "other." + s.NS + ".svc.cluster.local"}}}}}
	_, err := harness.Istio().NetworkingV1().VirtualServices(s.NS).Create(ctx, vs, metav1.CreateOptions{})
	s.must(err)
}

// servedByNeighbour fails the test unless all requests to Service web are answered by the pod of the neighbour.
func (s story) servedByNeighbour() {
	s.T.Helper()
	pods := harness.PodUIDs(s.T, s.NS, "app=other")
	harness.Eventually(s.T, "the neighbour answers", func() error {
		if a, err := harness.Ask(s.URL); err != nil || pods[a.Pod] == "" {
			return fmt.Errorf("pod %s answers, or %v", a.Pod, err)
		}
		return nil
	})
	for range 50 {
		a, err := harness.Ask(s.URL)
		s.must(err)
		if pods[a.Pod] == "" {
			s.T.Fatalf("pod %s answers, want the neighbour's %v", a.Pod, pods)
		}
	}
}
