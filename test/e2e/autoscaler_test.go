package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/test/harness"
)

// autoscaler scales a Deployment by the CPU that its pods use.
const autoscaler = `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: %[1]s
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: %[1]s}
  minReplicas: 1
  maxReplicas: 4
  metrics:
  - type: Resource
    resource: {name: cpu, target: {type: AverageValue, averageValue: 100m}}
`

// Autoscalers of stable and of the candidate follow the share of the traffic: at 5 ms of CPU per request the load needs
// three pods of the version that gets it.
func TestAutoscalersOfBoth(t *testing.T) {
	s := newStory(t)
	s.Apply(all(webService, busy(web("web-v1")), fmt.Sprintf(autoscaler, "web-v1")))
	harness.WaitReady(t, s.NS, "web-v1")
	load := s.load(s.URL)
	s.scaled("web-v1", 3, 4)
	stable := s.pods("web-v1")

	s.Apply(all(busy(web("web-v2", "strategy: canary", `weight: "0"`)), fmt.Sprintf(autoscaler, "web-v2")))
	s.Programmed("web-v2", "canary 0% of web")
	s.scaled("web-v2", 1, 1)
	if len(stable) < 3 {
		t.Errorf("stable had %d pods", len(stable))
	}

	s.Annotate("web-v2", "weight=100")
	s.Programmed("web-v2", "canary 100% of web")
	s.scaled("web-v2", 3, 4)
	s.scaled("web-v1", 1, 1)

	s.Annotate("web-v2", "weight=0")
	s.Programmed("web-v2", "canary 0% of web")
	s.scaled("web-v1", 3, 4)
	s.scaled("web-v2", 1, 1)
	s.Served(split{"v1": 100})
	load.AssertNoneLost(t)
}

// busy makes each request cost 5 ms of CPU.
func busy(deployment string) string {
	return strings.Replace(deployment, "        ports:\n", "        env: [{name: LAB_CPU, value: 5ms}]\n        ports:\n", 1)
}

// scaled waits until the autoscaler has given the Deployment so many pods, and all are ready.
func (s story) scaled(deployment string, least, most int32) {
	s.T.Helper()
	harness.Eventually(s.T, fmt.Sprintf("%s has %d to %d pods", deployment, least, most), func() error {
		d, err := harness.Kube().AppsV1().Deployments(s.NS).Get(context.Background(), deployment, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if n := d.Status.ReadyReplicas; n < least || n > most || n != *d.Spec.Replicas {
			return fmt.Errorf("it has %d of %d", n, *d.Spec.Replicas)
		}
		return nil
	})
}
