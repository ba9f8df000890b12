package e2e

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/test/harness"
)

// loadRate is what runs beside every story, in requests per second: enough to hit a window of 20 ms, little enough for
// several stories at once on 2 cores.
const loadRate = 60

// story is one user in a namespace of its own.
type story struct {
	t  *testing.T
	ns string
	// url is Service web's.
	url string
}

func newStory(t *testing.T) story {
	t.Helper()
	t.Parallel()
	ns := harness.Namespace(t)
	return story{t: t, ns: ns, url: harness.URL(ns, "web", 80)}
}

// startWeb applies Service web and a plain web-v1, as they have always been, and starts the load on them.
func startWeb(t *testing.T) (story, *harness.Load) {
	t.Helper()
	s := newStory(t)
	s.apply(all(webService, web("web-v1")))
	harness.WaitReady(t, s.ns, "web-v1")
	return s, s.load(s.url)
}

// load waits until the Service answers and then sends requests to the end of the test.
func (s story) load(url string) *harness.Load {
	s.t.Helper()
	harness.WaitServed(s.t, url)
	return harness.StartLoad(s.t, url, loadRate)
}

func (s story) kubectl(args ...string) {
	s.t.Helper()
	harness.Kubectl(s.t, "", append(args, "-n", s.ns)...)
}

// apply is kubectl apply -f; it returns what kubectl prints, warnings included.
func (s story) apply(manifests string) string {
	s.t.Helper()
	return harness.Kubectl(s.t, manifests, "apply", "-n", s.ns, "-f", "-")
}

// refused applies a manifest that has to be denied, and returns the answer.
func (s story) refused(manifest string) string {
	s.t.Helper()
	out, err := harness.TryKubectl(s.t, manifest, "apply", "-n", s.ns, "-f", "-")
	if err == nil {
		s.t.Fatalf("this was not refused:\n%s\nkubectl said: %s", manifest, out)
	}
	return out
}

// annotate sets (key=value) or removes (key-) annotations of ours; keys have no prefix.
func (s story) annotate(deployment string, changes ...string) {
	s.t.Helper()
	args := []string{"annotate", "--overwrite", "deploy/" + deployment}
	for _, c := range changes {
		args = append(args, "grayscale.dev/"+c)
	}
	s.kubectl(args...)
}

func (s story) programmed(deployment, message string) {
	s.t.Helper()
	harness.WaitProgrammed(s.t, s.ns, deployment, message)
}

// split is a share in percent by version.
type split map[string]float64

func (s story) served(want split) {
	s.t.Helper()
	harness.AssertSplit(s.t, s.url, want)
}

// pods are the UIDs of a Deployment's pods by name.
func (s story) pods(instance string) map[string]string {
	s.t.Helper()
	return harness.PodUIDs(s.t, s.ns, "instance="+instance)
}

// untouched fails the test unless the Deployment still has exactly these pods, never restarted, of one ReplicaSet.
func (s story) untouched(instance string, before map[string]string) {
	s.t.Helper()
	if now := s.pods(instance); len(before) == 0 || !maps.Equal(now, before) {
		s.t.Errorf("the pods of %s were %v, and are %v", instance, before, now)
	}
	if n := harness.Restarts(s.t, s.ns, "instance="+instance); n != 0 {
		s.t.Errorf("the containers of %s were restarted %d times", instance, n)
	}
	sets, err := harness.Kube().AppsV1().ReplicaSets(s.ns).List(context.Background(), metav1.ListOptions{LabelSelector: "instance=" + instance})
	if err != nil {
		s.t.Fatal(err)
	}
	if len(sets.Items) != 1 {
		s.t.Errorf("%s has %d ReplicaSets: it was rolled", instance, len(sets.Items))
	}
}

// virtualService is the derived one of a Service.
func (s story) virtualService(service string) *networkingv1.VirtualService {
	s.t.Helper()
	vs, err := harness.Istio().NetworkingV1().VirtualServices(s.ns).Get(context.Background(), service+"-grayscale", metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return vs
}

// noRoutes waits until neither a VirtualService nor a DestinationRule is left in the namespace.
func (s story) noRoutes() {
	s.t.Helper()
	harness.Eventually(s.t, "the derived routes of "+s.ns+" are gone", func() error {
		services, err := harness.Istio().NetworkingV1().VirtualServices(s.ns).List(context.Background(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		rules, err := harness.Istio().NetworkingV1().DestinationRules(s.ns).List(context.Background(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		if len(services.Items)+len(rules.Items) > 0 {
			return fmt.Errorf("%d VirtualServices and %d DestinationRules are left", len(services.Items), len(rules.Items))
		}
		return nil
	})
}

// noTrace waits until the Deployment says nothing of grayscale any more: no annotation, no condition, not paused.
func (s story) noTrace(deployment string) {
	s.t.Helper()
	harness.Eventually(s.t, "no trace on "+deployment, func() error {
		d, err := harness.Kube().AppsV1().Deployments(s.ns).Get(context.Background(), deployment, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for key := range d.Annotations {
			// kubectl's own record of the last apply holds what the user wrote.
			if strings.HasPrefix(key, "grayscale.dev/") {
				return fmt.Errorf("annotation %s is left", key)
			}
		}
		for _, c := range d.Status.Conditions {
			if strings.HasPrefix(string(c.Type), "grayscale.dev/") {
				return fmt.Errorf("condition %s is left", c.Type)
			}
		}
		if d.Spec.Paused {
			return fmt.Errorf("it is paused")
		}
		return nil
	})
}
