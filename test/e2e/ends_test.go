package e2e

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/test/harness"
)

const orphans = "delete, pods stay as orphans"

// endRate is in requests per second: half of them go to the version that ends.
const endRate = 200

// A version that serves is ended in every way, by every kind of client: its traffic moves first, and no request is
// lost.
func TestTrafficGoesBeforeThePodsDo(t *testing.T) {
	for name, end := range map[string]func(story){
		"delete in the background":      func(s story) { s.Kubectl("delete", "deploy/web-v2", "--cascade=background") },
		"delete in the foreground":      func(s story) { s.Kubectl("delete", "deploy/web-v2", "--cascade=foreground") },
		orphans:                         func(s story) { s.Kubectl("delete", "deploy/web-v2", "--cascade=orphan") },
		"delete a collection":           deleteCollection,
		"kubectl scale to zero":         func(s story) { s.Kubectl("scale", "deploy/web-v2", "--replicas=0") },
		"an autoscaler scales to zero":  autoscaleToZero,
		"replicas zero in the manifest": func(s story) { s.Kubectl("patch", "deploy/web-v2", "-p", `{"spec":{"replicas":0}}`) },
	} {
		t.Run(name, func(t *testing.T) {
			s := halved(t)
			left, ended := s.watchLeaving("v2"), s.watchEnd("web-v2")
			end(s)
			if l, e := <-left, <-ended; l >= e {
				t.Errorf("revision %d moved the traffic, revision %d ended the Deployment", l, e)
			}
			harness.AssertOnly(t, s.URL, "v1")
			if name != orphans { // load runs until the last pod has gone
				s.noPods("web-v2")
			}
		})
	}
}

// Stable ends as gracefully: the candidate that serves takes everything.
func TestStableEndsWhileACandidateServes(t *testing.T) {
	for name, end := range map[string][]string{
		"delete": {"delete", "deploy/web-v1"},
		"scale":  {"scale", "deploy/web-v1", "--replicas=0"},
	} {
		t.Run(name, func(t *testing.T) {
			s := halved(t)
			s.Kubectl(end...)
			harness.AssertOnly(t, s.URL, "v2")
			s.noPods("web-v1")
		})
	}
}

// A dry run moves nothing.
func TestDryRunOfADeletionMovesNothing(t *testing.T) {
	s := halved(t)
	before := s.Routes("web").ResourceVersion
	s.Kubectl("delete", "deploy/web-v2", "--dry-run=server")
	s.Kubectl("scale", "deploy/web-v2", "--replicas=0", "--dry-run=server")
	if after := s.Routes("web").ResourceVersion; after != before {
		t.Errorf("the VirtualService was written: %s, then %s", before, after)
	}
}

// halved is a canary at 50 % under load.
func halved(t *testing.T) story {
	t.Helper()
	s := newStory(t)
	s.Apply(all(webService, web("web-v1")))
	harness.WaitReady(t, s.NS, "web-v1")
	harness.WaitServed(t, s.URL)
	s.Apply(web("web-v2", "strategy: canary", `weight: "50"`))
	s.Programmed("web-v2", "canary 50% of web")
	s.Served(split{"v1": 50, "v2": 50})
	harness.StartLoad(t, s.URL, endRate)
	return s
}

// watchLeaving returns the revision in which the routes stopped naming a version.
func (s story) watchLeaving(version string) <-chan uint64 {
	s.T.Helper()
	w, err := harness.Istio().NetworkingV1().VirtualServices(s.NS).Watch(s.T.Context(), metav1.ListOptions{})
	return s.revision(w, err, func(e watch.Event) bool {
		vs, ok := e.Object.(*networkingv1.VirtualService)
		return ok && !slices.Contains(istio.ReferencedSubsets(vs), version)
	})
}

// watchEnd returns the revision in which a Deployment was deleted, marked for deletion, or scaled to zero.
func (s story) watchEnd(deployment string) <-chan uint64 {
	s.T.Helper()
	w, err := harness.Kube().AppsV1().Deployments(s.NS).Watch(s.T.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + deployment})
	return s.revision(w, err, func(e watch.Event) bool {
		d, ok := e.Object.(*appsv1.Deployment)
		return ok && (e.Type == watch.Deleted || d.DeletionTimestamp != nil || *d.Spec.Replicas == 0)
	})
}

// revision is etcd's revision of the first event that fits. All objects share one counter, so two revisions show which
// event was first.
func (s story) revision(w watch.Interface, err error, fits func(watch.Event) bool) <-chan uint64 {
	s.T.Helper()
	if err != nil {
		s.T.Fatal(err)
	}
	found := make(chan uint64, 1)
	go func() {
		defer close(found)
		defer w.Stop()
		for e := range w.ResultChan() {
			if !fits(e) {
				continue
			}
			if o, err := meta.Accessor(e.Object); err == nil {
				n, _ := strconv.ParseUint(o.GetResourceVersion(), 10, 64) // zero fails the comparison
				found <- n
			}
			return
		}
	}()
	return found
}

// noPods waits until no pod of a Deployment is left.
func (s story) noPods(instance string) {
	s.T.Helper()
	harness.Eventually(s.T, "the pods of "+instance+" are gone", func() error {
		if left := s.pods(instance); len(left) > 0 {
			return fmt.Errorf("%d pods are left", len(left))
		}
		return nil
	})
}

func deleteCollection(s story) {
	s.T.Helper()
	err := harness.Kube().AppsV1().Deployments(s.NS).DeleteCollection(context.Background(), metav1.DeleteOptions{},
		metav1.ListOptions{FieldSelector: "metadata.name=web-v2"})
	if err != nil {
		s.T.Fatal(err)
	}
}

// autoscaleToZero is what a HorizontalPodAutoscaler sends.
func autoscaleToZero(s story) {
	s.T.Helper()
	_, err := harness.Kube().AppsV1().Deployments(s.NS).UpdateScale(context.Background(), "web-v2",
		&autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Namespace: s.NS, Name: "web-v2"}}, metav1.UpdateOptions{})
	if err != nil {
		s.T.Fatal(err)
	}
}
