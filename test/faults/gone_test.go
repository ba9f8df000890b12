package faults

import (
	"fmt"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/test/harness"
)

// All watches of grayscale break, and the missed events are not available any more: a restarted API server answers
// "410 Gone" to a watch that wants to resume. Neither an edit nor an annotation from that time is lost.
func TestWatchesGetGone(t *testing.T) {
	s := begin(t)
	s.canary(10)
	seen, before := s.Routes("web").ResourceVersion, restarts(t)
	var pids []int
	for _, r := range harness.Replicas(t) {
		pids = append(pids, r.PID)
	}
	resume := harness.Freeze(t, pids...)
	down := time.Now()
	harness.RestartComponent(t, "kube-apiserver")
	back := meshBack(down, time.Now()) // for Kubernetes' own controllers as well, which write behind grayscale's
	s.gone(seen)
	s.patchRoutes(`{"spec":{"exportTo":["."]}}`)
	// No webhook is called for a Deployment's status: a stopped one would delay the annotation.
	s.must(harness.Annotate(s.NS, "web-v2", []string{"weight=40"}, "status"))
	resume()
	fault := time.Now()
	s.programmed("web-v2", 40)
	if exported := s.Routes("web").Spec.ExportTo; len(exported) != 0 {
		t.Errorf("the routes are still exported to %v alone", exported)
	}
	s.Served(map[string]float64{"v1": 60, "v2": 40})
	noCrashLoop(t, before)
	if back.After(fault) {
		fault = back
	}
	s.end(fault)
}

// gone fails the test unless the API server refuses a watch from that version as too old.
func (s story) gone(version string) {
	s.T.Helper()
	watch, err := harness.Istio().NetworkingV1().VirtualServices(s.NS).Watch(ctx, metav1.ListOptions{ResourceVersion: version})
	if err == nil {
		first := <-watch.ResultChan()
		watch.Stop()
		err = apierrors.FromObject(first.Object)
	}
	if !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
		s.T.Errorf("the watches of grayscale can go on: %v", fmt.Sprint(err))
	}
}
