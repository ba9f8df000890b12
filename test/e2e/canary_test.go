package e2e

import (
	"context"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/test/harness"
)

// A canary grows from nothing to everything, with a decimal on the way, and back.
func TestCanaryHTTP(t *testing.T) {
	s, load := startWeb(t)
	stable := s.pods("web-v1")

	s.Apply(web("web-v2", "strategy: canary", `weight: "10"`))
	s.Programmed("web-v2", "canary 10% of web")
	s.Served(split{"v1": 90, "v2": 10})
	s.startedAfterPin("web-v2")

	s.Annotate("web-v2", "weight=0.5")
	s.Programmed("web-v2", "canary 0.5% of web")
	s.weights("web", map[string]int32{"v1": 9950, "v2": 50})

	// As the README has it, with kubectl alone.
	s.Kubectl("annotate", "--overwrite", "deploy/web-v2", "grayscale.dev/weight=50")
	s.Kubectl("wait", "deploy/web-v2", "--timeout="+harness.Patience.String(),
		`--for=jsonpath={.status.conditions[?(@.type=="grayscale.dev/Programmed")].message}=canary 50% of web`)
	s.Served(split{"v1": 50, "v2": 50})

	s.Annotate("web-v2", "weight=100")
	s.Programmed("web-v2", "canary 100% of web")
	s.Served(split{"v2": 100})
	s.untouched("web-v1", stable) // stays warm

	s.Annotate("web-v2", "weight=0")
	s.Programmed("web-v2", "canary 0% of web")
	s.Served(split{"v1": 100})

	for version := range load.AssertNoneLost(t).Versions {
		if version != "v1" && version != "v2" && version != harness.Unlabelled {
			t.Errorf("version %s answered", version)
		}
	}
}

// Two candidates at once get their weights, and stable the rest.
func TestCanaryTwoCandidates(t *testing.T) {
	s, _ := startWeb(t)
	s.Apply(web("web-v2", "strategy: canary", `weight: "20"`))
	s.Programmed("web-v2", "canary 20% of web")
	s.Apply(web("web-v3", "strategy: canary", `weight: "30"`))
	s.Programmed("web-v3", "canary 30% of web")
	s.Served(split{"v1": 50, "v2": 20, "v3": 30})
}

// startedAfterPin fails the test if a pod of the candidate was born before the routes that keep traffic off it.
func (s story) startedAfterPin(instance string) {
	s.T.Helper()
	pinned := s.Routes("web").CreationTimestamp
	pods, err := harness.Kube().CoreV1().Pods(s.NS).List(context.Background(), metav1.ListOptions{LabelSelector: "instance=" + instance})
	if err != nil {
		s.T.Fatal(err)
	}
	if len(pods.Items) == 0 {
		s.T.Errorf("%s has no pods", instance)
	}
	for _, p := range pods.Items {
		if p.CreationTimestamp.Before(&pinned) {
			s.T.Errorf("pod %s was created at %s, before the VirtualService at %s", p.Name, p.CreationTimestamp, pinned)
		}
	}
}

// weights fails the test unless every HTTP route of the derived VirtualService has these weights by subset.
func (s story) weights(service string, want map[string]int32) {
	s.T.Helper()
	vs := s.Routes(service)
	if len(vs.Spec.Http) == 0 {
		s.T.Errorf("VirtualService %s has no HTTP route", vs.Name)
	}
	for _, route := range vs.Spec.Http {
		got := map[string]int32{}
		for _, to := range route.Route {
			got[to.Destination.Subset] = to.Weight
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			s.T.Errorf("VirtualService %s has weights %v, want %v", vs.Name, got, want)
		}
	}
}
