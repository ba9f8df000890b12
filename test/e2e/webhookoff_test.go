package e2e

import (
	"context"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"grayscale.dev/grayscale/test/harness"
)

// With the webhook off a wrong value gets in: the controller keeps the last good routes and says why.
// The test is not parallel, because all tests share the webhook. Parallel tests wait until all others have ended.
func TestWrongValueWithWebhookOff(t *testing.T) {
	ns := harness.Namespace(t)
	s := story{harness.StoryIn(t, ns)}
	s.Apply(all(webService, web("web-v1")))
	harness.WaitReady(t, ns, "web-v1")
	s.load(s.URL)
	s.Apply(web("web-v2", "strategy: canary", `weight: "30"`))
	s.Programmed("web-v2", "canary 30% of web")

	webhookOff(t)
	s.Annotate("web-v2", "weight=150")
	harness.WaitCondition(t, ns, "web-v2", "grayscale.dev/Accepted", "False", "150")
	harness.WaitEvent(t, ns, "web-v2", "InvalidValue", "150")
	s.Served(split{"v1": 70, "v2": 30})

	s.Annotate("web-v2", "weight=40")
	s.Programmed("web-v2", "canary 40% of web")
	s.Served(split{"v1": 60, "v2": 40})

	// A candidate that was not held is adopted and pinned while it runs.
	s.Apply(web("web-v3", "strategy: canary", `weight: "10"`))
	s.Programmed("web-v3", "canary 10% of web")
	s.Served(split{"v1": 50, "v2": 40, "v3": 10})

	// The weights exceed 100: the younger candidate yields to the older, and keeps the weight that it had.
	s.Annotate("web-v3", "weight=70")
	harness.WaitCondition(t, ns, "web-v3", "grayscale.dev/Accepted", "False", "at most 100")
	s.Served(split{"v1": 50, "v2": 40, "v3": 10})
}

// With the webhook off kubectl replace drops the version label of a pod template: its pods are rolled out, and neither
// a route nor a request is lost.
func TestReplaceWithWebhookOff(t *testing.T) {
	ns := harness.Namespace(t)
	s := story{harness.StoryIn(t, ns)}
	s.Apply(all(webService, web("web-v1")))
	harness.WaitReady(t, ns, "web-v1")
	s.load(s.URL)
	s.Apply(web("web-v2", "strategy: canary", `weight: "30"`))
	s.Programmed("web-v2", "canary 30% of web")

	webhookOff(t)
	for _, manifest := range []string{web("web-v1"), web("web-v2", "strategy: canary", `weight: "30"`)} {
		harness.Kubectl(t, manifest, "replace", "-n", ns, "-f", "-")
	}
	for name, version := range map[string]string{"web-v1": "v1", "web-v2": "v2"} {
		harness.WaitDeployment(t, ns, name, "its template carries the version again", func(d *appsv1.Deployment) bool {
			return d.Spec.Template.Labels["version"] == version
		})
		harness.WaitReady(t, ns, name)
	}
	s.Programmed("web-v2", "canary 30% of web")
	s.Served(split{"v1": 70, "v2": 30})

	sets, err := harness.Kube().AppsV1().ReplicaSets(ns).List(context.Background(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(sets.Items) > 4 {
		t.Errorf("%d ReplicaSets; each of the two Deployments had one, and rolled out at most one more, without the label", len(sets.Items))
	}
}

// webhookOff removes the webhook configurations until the test ends.
func webhookOff(t *testing.T) {
	t.Helper()
	ctx, api := context.Background(), harness.Kube().AdmissionregistrationV1()
	mutating, err := api.MutatingWebhookConfigurations().Get(ctx, "grayscale", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	validating, err := api.ValidatingWebhookConfigurations().Get(ctx, "grayscale", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := api.MutatingWebhookConfigurations().Delete(ctx, "grayscale", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		mutating.ResourceVersion, validating.ResourceVersion = "", ""
		if _, err := api.MutatingWebhookConfigurations().Create(ctx, mutating, metav1.CreateOptions{}); err != nil {
			t.Error(err)
		}
		if _, err := api.ValidatingWebhookConfigurations().Create(ctx, validating, metav1.CreateOptions{}); err != nil {
			t.Error(err)
		}
	})
	if err := api.ValidatingWebhookConfigurations().Delete(ctx, "grayscale", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	// The API server goes by a watch of its own.
	harness.Eventually(t, "the API server no longer asks the webhooks", func() error {
		var wrong appsv1.Deployment
		if err := yaml.Unmarshal([]byte(web("wrong", "strategy: canary", `weight: "150"`)), &wrong); err != nil {
			return err
		}
		dry := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
		_, err := harness.Kube().AppsV1().Deployments(metav1.NamespaceDefault).Create(ctx, &wrong, dry)
		return err
	})
}
