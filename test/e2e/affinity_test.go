package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/test/harness"
)

const hashedByHost = `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: mine
spec:
  host: web
  trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x-user}}}
`

// Session affinity of the Service, and a user's consistent hash, choose among the pods of a version. The versions still
// get their weights.
func TestSessionAffinity(t *testing.T) {
	s := newStory(t)
	s.Apply(all(strings.Replace(webService, "spec:\n", "spec:\n  sessionAffinity: ClientIP\n", 1), hashedByHost, web("web-v1")))
	harness.WaitReady(t, s.NS, "web-v1")
	load := s.load(s.URL)

	s.Apply(web("web-v2", "strategy: canary", `weight: "30"`))
	s.Programmed("web-v2", "canary 30% of web")
	s.Served(split{"v1": 70, "v2": 30})

	s.Kubectl("delete", "destinationrule/mine") // in the middle, and back
	s.Served(split{"v1": 70, "v2": 30})
	s.Apply(hashedByHost)
	s.Annotate("web-v2", "weight=100")
	s.Programmed("web-v2", "canary 100% of web")
	s.Served(split{"v2": 100})
	s.Kubectl("delete", "deploy/web-v1")
	s.onlyRule("mine")
	s.Served(split{"v2": 100})
	load.AssertNoneLost(t)
}

// onlyRule waits until the namespace has no VirtualService, and only this DestinationRule.
func (s story) onlyRule(name string) {
	s.T.Helper()
	harness.Eventually(s.T, "only DestinationRule "+name+" is left", func() error {
		services, err := harness.Istio().NetworkingV1().VirtualServices(s.NS).List(context.Background(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		rules, err := harness.Istio().NetworkingV1().DestinationRules(s.NS).List(context.Background(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		if len(services.Items) != 0 || len(rules.Items) != 1 || rules.Items[0].Name != name {
			return fmt.Errorf("%d VirtualServices and %d DestinationRules are left", len(services.Items), len(rules.Items))
		}
		return nil
	})
}
