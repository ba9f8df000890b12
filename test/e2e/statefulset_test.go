package e2e

import (
	"context"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/test/harness"
)

// webSet is a StatefulSet whose pods Service web also selects, and its headless Service.
const webSet = `
apiVersion: v1
kind: Service
metadata:
  name: web-set
spec:
  clusterIP: None
  selector: {app: web, instance: web-set}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: web-set
spec:
  serviceName: web-set
  replicas: 2
  selector: {matchLabels: {app: web, instance: web-set}}
  template:
    metadata: {labels: {app: web, instance: web-set}}
    spec:
      containers:
      - name: app
        image: example/web:set
        ports: [{containerPort: 8080}]
`

// A StatefulSet behind the same Service serves until the Service is pinned, gets nothing from it while the release
// lasts, and serves again after it. Its own headless Service reaches it all the time.
func TestStatefulSetBeside(t *testing.T) {
	s := newStory(t)
	s.Apply(all(webService, webSet, web("web-v1")))
	harness.WaitReady(t, s.NS, "web-v1")
	s.setReady()
	load, headless := s.load(s.URL), s.load(harness.URL(s.NS, "web-set", 80))
	stable, set := s.pods("web-v1"), s.pods("web-set")

	s.Apply(web("web-v2", "strategy: canary", `weight: "30"`))
	s.Programmed("web-v2", "canary 30% of web")
	s.Served(split{"v1": 70, "v2": 30}) // an answer of the set's, which has no version, would fail this
	s.untouched("web-v1", stable)

	s.Kubectl("delete", "deploy/web-v2")
	s.NoRoutes()
	harness.Eventually(t, "the set serves again", func() error {
		if seen := harness.Counts(t, s.URL, 100); seen[harness.Unlabelled] == 0 {
			return fmt.Errorf("answers are from %v", seen)
		}
		return nil
	})
	if now := s.pods("web-set"); fmt.Sprint(now) != fmt.Sprint(set) {
		t.Errorf("the set's pods were %v, and are %v", set, now)
	}
	load.AssertNoneLost(t)
	headless.AssertNoneLost(t)
}

func (s story) setReady() {
	s.T.Helper()
	harness.Eventually(s.T, "the StatefulSet is ready", func() error {
		set, err := harness.Kube().AppsV1().StatefulSets(s.NS).Get(context.Background(), "web-set", metav1.GetOptions{})
		if err == nil && set.Status.ReadyReplicas != 2 {
			err = fmt.Errorf("%d of 2 pods are ready", set.Status.ReadyReplicas)
		}
		return err
	})
}
