package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"grayscale.dev/grayscale/test/harness"
)

// Each test in this file is a case of the peers' end-to-end tests, under load and with no request lost.
// docs/conformance.md lists all cases, including those that other files test and those that have to wait.

// Case 1: "weights 100/0 -> 90/10 -> final".
func TestConformance01Weights(t *testing.T) {
	s, _ := startWeb(t)
	history := s.history()
	s.Apply(web("web-v2", "strategy: canary"))
	s.Programmed("web-v2", "canary 0% of web")
	s.weights("web", map[string]int32{"v1": 0})
	s.Served(split{"v1": 100})

	s.Annotate("web-v2", "weight=10")
	s.Programmed("web-v2", "canary 10% of web")
	s.weights("web", map[string]int32{"v1": 90, "v2": 10})
	s.Served(split{"v1": 90, "v2": 10})

	before := len(history.routes())
	s.Annotate("web-v2", "weight=100")
	s.Programmed("web-v2", "canary 100% of web")
	s.Served(split{"v2": 100})
	if n := len(history.routes()) - before; n != 1 {
		t.Errorf("the VirtualService was written %d times for one change of the weight", n)
	}

	s.Annotate("web-v2", "strategy-", "weight-")
	harness.WaitEvent(t, s.NS, "web-v2", "Promoted", "v2 is stable")
	s.Kubectl("delete", "deploy/web-v1")
	s.NoRoutes()
	s.Served(split{"v2": 100})
	history.consistent()
}

// Case 4: "subset labels right at each step". A release, a promotion, and the release after it.
func TestConformance04SubsetLabels(t *testing.T) {
	s, _ := startWeb(t)
	history := s.history()
	s.Apply(web("web-v2", "strategy: canary", `weight: "30"`))
	s.Programmed("web-v2", "canary 30% of web")
	s.subsets("web", "v1", "v2")
	s.Served(split{"v1": 70, "v2": 30}) // counted by the label of the pods that answer

	s.Annotate("web-v2", "weight=100")
	s.Programmed("web-v2", "canary 100% of web")
	s.subsets("web", "v1", "v2")
	s.Served(split{"v2": 100})

	s.Annotate("web-v2", "strategy-", "weight-")
	harness.WaitEvent(t, s.NS, "web-v2", "Promoted", "v2 is stable")
	s.subsets("web", "v2") // nothing is routed to v1 any more, though it exists
	s.Apply(web("web-v3", "strategy: canary", `weight: "20"`))
	s.Programmed("web-v3", "canary 20% of web")
	s.subsets("web", "v2", "v3")
	s.Served(split{"v2": 80, "v3": 20})
	history.consistent()
}

// Case 7: "abort on a healthy idle app is a no-op". The app is idle after a promotion that kept the annotations.
func TestConformance07AbortWhenIdle(t *testing.T) {
	s, _ := startWeb(t)
	s.Apply(web("web-v2", "strategy: blue-green", `active: "true"`))
	s.Programmed("web-v2", "blue-green active for web")
	s.Kubectl("delete", "deploy/web-v1")
	s.NoRoutes()
	s.Served(split{"v2": 100})
	idle, history := s.pods("web-v2"), s.history()

	s.Annotate("web-v2", "strategy-", "active-")
	s.noTrace("web-v2")
	s.Served(split{"v2": 100})
	s.untouched("web-v2", idle)
	for _, w := range history.Writes(nil) {
		if w.Kind == "virtualservices" || w.Kind == "destinationrules" || w.Kind == "pods" || w.Kind == "replicasets" && w.Deleted {
			t.Errorf("the abort wrote %+v", w)
		}
	}
}

// Case 8: "v3 arrives mid-v2, not ready". v2 keeps what it has, and v3 gets nothing before it can answer.
func TestConformance08V3ArrivesNotReady(t *testing.T) {
	s, _ := startWeb(t)
	history := s.history()
	s.Apply(web("web-v2", "strategy: canary", `weight: "20"`))
	s.Programmed("web-v2", "canary 20% of web")
	second := s.pods("web-v2")

	s.Apply(unready(web("web-v3", "strategy: canary", `weight: "30"`)))
	harness.WaitCondition(t, s.NS, "web-v3", "grayscale.dev/Programmed", "False", "no pod of")
	s.Served(split{"v1": 80, "v2": 20})
	s.Programmed("web-v2", "canary 20% of web")

	s.probes("web-v3", true)
	s.Programmed("web-v3", "canary 30% of web")
	s.Served(split{"v1": 50, "v2": 20, "v3": 30})
	s.untouched("web-v2", second)
	history.consistent()
}

// Case 9: "abort after the second step".
func TestConformance09AbortAfterSecondStep(t *testing.T) {
	s, _ := startWeb(t)
	stable, history := s.pods("web-v1"), s.history()
	s.Apply(web("web-v2", "strategy: canary", `weight: "10"`))
	s.Programmed("web-v2", "canary 10% of web")
	s.Annotate("web-v2", "weight=40")
	s.Programmed("web-v2", "canary 40% of web")
	s.Served(split{"v1": 60, "v2": 40})

	s.Annotate("web-v2", "strategy-", "weight-")
	harness.WaitEvent(t, s.NS, "web-v2", "Aborted", "stable version v1")
	s.Served(split{"v1": 100})
	s.weights("web", map[string]int32{"v1": 0})
	s.untouched("web-v1", stable)

	// The aborted candidate leaves no subset behind.
	s.Kubectl("delete", "deploy/web-v2")
	s.NoRoutes()
	s.Served(split{"v1": 100})
	history.consistent()
}

// Case 10: "scale stable after abort". The new pods serve, and the aborted ones still get nothing.
func TestConformance10ScaleStableAfterAbort(t *testing.T) {
	s, _ := startWeb(t)
	s.Apply(web("web-v2", "strategy: canary", `weight: "50"`))
	s.Programmed("web-v2", "canary 50% of web")
	s.Annotate("web-v2", "strategy-", "weight-")
	s.Served(split{"v1": 100})

	for _, replicas := range []int32{4, 1, 3} {
		s.scale("web-v1", replicas)
		harness.WaitReady(t, s.NS, "web-v1")
		s.Served(split{"v1": 100})
	}
	answering := map[string]bool{}
	harness.Eventually(t, "all pods of stable answer", func() error {
		answer, err := harness.Ask(s.URL)
		if answering[answer.Pod] = true; err == nil && len(answering) < 3 {
			err = fmt.Errorf("only %v did", answering)
		}
		return err
	})
}

// Case 13: "mirror gone, base intact, on full promotion".
func TestConformance13MirrorGoneOnPromotion(t *testing.T) {
	s, _ := startWeb(t)
	history := s.history()
	s.Apply(web("web-v2", "strategy: mirror"))
	s.Programmed("web-v2", "mirror 100% of web")
	s.copied(split{"v2": 100})
	s.Served(split{"v1": 100})

	before := len(history.routes())
	s.Annotate("web-v2", "strategy=blue-green", "mirror-percent-", "active=true")
	s.Programmed("web-v2", "blue-green active for web")
	s.Served(split{"v2": 100})
	if n := len(history.routes()) - before; n != 1 {
		t.Errorf("the VirtualService was written %d times for one change of the strategy", n)
	}
	for _, route := range s.Routes("web").Spec.Http {
		if len(route.Mirrors) > 0 || route.Mirror != nil {
			t.Errorf("route %s still copies requests", route.Name)
		}
	}
	s.copied(split{"v1": 0})

	s.Annotate("web-v2", "strategy-", "active-")
	s.Kubectl("scale", "deploy/web-v1", "--replicas=0")
	s.NoRoutes()
	s.Served(split{"v2": 100})
	history.consistent()
}

// deadline is a progressDeadlineSeconds so short that it would end while the Deployment is still held.
const deadline = 3 * time.Second

// Case 17: "bad image: stable untouched". The condition says what is wrong, and progressDeadlineSeconds counts from the
// moment when pods may start.
func TestConformance17BadImage(t *testing.T) {
	s, _ := startWeb(t)
	stable, history := s.pods("web-v1"), s.history()
	s.Apply(deadlineOf(deadline, strings.Replace(web("web-v2", "strategy: blue-green", `active: "true"`), "example/web:web-v2", "example/web:does-not-exist", 1)))
	harness.WaitCondition(t, s.NS, "web-v2", "grayscale.dev/Programmed", "False", "no pod of Deployment "+s.NS+"/web-v2 is ready")
	pinned := s.Routes("web").CreationTimestamp
	harness.WaitCondition(t, s.NS, "web-v2", "grayscale.dev/Programmed", "False", "progressDeadlineSeconds")
	harness.WaitDeployment(t, s.NS, "web-v2", "it has failed to progress, and not while it was held", func(d *appsv1.Deployment) bool {
		for _, c := range d.Status.Conditions {
			if c.Type == appsv1.DeploymentProgressing && c.Reason == "ProgressDeadlineExceeded" {
				return !c.LastUpdateTime.Time.Before(pinned.Add(deadline)) // the hold outlasts the first write of the routes
			}
		}
		return false
	})
	s.Served(split{"v1": 100})
	s.untouched("web-v1", stable)
	s.weights("web", map[string]int32{"v1": 0})

	s.Kubectl("set", "image", "deploy/web-v2", "app=example/web:2")
	s.Programmed("web-v2", "blue-green active for web")
	s.Served(split{"v2": 100})
	s.untouched("web-v1", stable)
	history.consistent()
}

// Case 18: "rollback at 20%; scale up and down mid-release". Both sides are scaled as autoscalers do it, through the
// scale subresource and at the same time: weights are shares of requests, whatever the numbers of pods are.
func TestConformance18ScaleAndRollback(t *testing.T) {
	s, _ := startWeb(t)
	history := s.history()
	s.Apply(web("web-v2", "strategy: canary", `weight: "20"`))
	s.Programmed("web-v2", "canary 20% of web")
	s.Served(split{"v1": 80, "v2": 20})

	before := len(history.routes())
	for _, replicas := range []struct{ stable, candidate int32 }{{4, 1}, {1, 4}, {3, 2}, {2, 2}} {
		s.scale("web-v1", replicas.stable)
		s.scale("web-v2", replicas.candidate)
		harness.WaitReady(t, s.NS, "web-v1")
		harness.WaitReady(t, s.NS, "web-v2")
		s.Served(split{"v1": 80, "v2": 20})
	}
	s.weights("web", map[string]int32{"v1": 80, "v2": 20})
	if n := len(history.routes()) - before; n != 0 {
		t.Errorf("the VirtualService was written %d times, though no weight changed", n)
	}

	s.Annotate("web-v2", "weight=0")
	s.Programmed("web-v2", "canary 0% of web")
	s.Served(split{"v1": 100})
	history.consistent()
}

// Case 20: "configuration deleted mid-release restores everything". The candidate itself configures a release. If
// somebody deletes the derived VirtualService, it comes back.
func TestConformance20ConfigurationDeleted(t *testing.T) {
	s, _ := startWeb(t)
	stable := s.pods("web-v1")
	s.Apply(web("web-v2", "strategy: canary", `weight: "30"`))
	s.Programmed("web-v2", "canary 30% of web")
	s.Served(split{"v1": 70, "v2": 30})

	s.Kubectl("delete", "virtualservice/web-grayscale")
	s.Served(split{"v1": 70, "v2": 30})
	s.weights("web", map[string]int32{"v1": 70, "v2": 30})

	s.Kubectl("delete", "deploy/web-v2")
	s.NoRoutes()
	s.noTrace("web-v1")
	s.Served(split{"v1": 100})
	s.untouched("web-v1", stable)
}

// unready gives a manifest's pods a readiness probe that fails from the start.
func unready(manifest string) string {
	const template = "  template:\n    metadata:\n"
	return strings.Replace(manifest, template, template+"      annotations:\n        lab.grayscale.dev/ready: \"false\"\n", 1)
}

func deadlineOf(d time.Duration, manifest string) string {
	return strings.Replace(manifest, "\nspec:\n", fmt.Sprintf("\nspec:\n  progressDeadlineSeconds: %d\n", int(d.Seconds())), 1)
}
