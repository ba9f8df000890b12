package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/test/harness"
)

// Grayscale is uninstalled at different moments, with releases in every state: nothing stays paused, no route names a
// subset that does not exist, nothing of grayscale stays, and no request is lost. After a new installation every
// release goes on. The test is not parallel, because all tests share grayscale.
func TestUninstallAtAnyMoment(t *testing.T) {
	running, weight := open(t)[0], 10 // through all of them
	running.Apply(web("web-v2", "strategy: canary", `weight: "10"`))
	running.Programmed("web-v2", "canary 10% of web")
	// An adoption takes a few hundred milliseconds from the moment its candidate is applied.
	for _, moment := range []time.Duration{0, 150 * time.Millisecond, 600 * time.Millisecond} {
		t.Run(moment.String(), func(t *testing.T) {
			running.T = t
			more := open(t, t)
			waiting, beginning := more[0], more[1]
			waiting.Apply(web("web-v2", "strategy: canary", "stable: nobody")) // which never comes: held for good
			harness.WaitCondition(t, waiting.NS, "web-v2", "grayscale.dev/Accepted", "False", "nobody")
			before := beginning.pods("web-v1")
			beginning.Apply(web("web-v2", "strategy: canary", `weight: "20"`))

			time.Sleep(moment)
			harness.Kubectl(t, "", "delete", "-k", harness.Manifests())
			t.Cleanup(func() { install(t) })
			nothingOfGrayscale(t)
			for _, s := range []story{running, waiting, beginning} {
				for _, name := range []string{"web-v1", "web-v2"} {
					harness.WaitReady(t, s.NS, name) // which a paused one is not
				}
				s.routesResolve()
			}
			running.Served(split{"v1": float64(100 - weight), "v2": float64(weight)})

			install(t)
			beginning.Programmed("web-v2", "canary 20% of web")
			beginning.Served(split{"v1": 80, "v2": 20})
			beginning.untouched("web-v1", before)
			weight += 25
			running.Annotate("web-v2", fmt.Sprintf("weight=%d", weight))
			running.Programmed("web-v2", fmt.Sprintf("canary %d%% of web", weight))
			running.Served(split{"v1": float64(100 - weight), "v2": float64(weight)})
		})
	}
}

// open makes a namespace for each given test, each with a plain web-v1 under load. The tests need not be parallel.
func open(tests ...*testing.T) []story {
	var opened []story
	for _, t := range tests {
		t.Helper()
		ns := harness.Namespace(t)
		s := story{harness.StoryIn(t, ns)}
		s.Apply(all(webService, web("web-v1")))
		opened = append(opened, s)
	}
	for _, s := range opened {
		harness.WaitReady(s.T, s.NS, "web-v1")
		s.load(s.URL)
	}
	return opened
}

// install applies the manifests and waits until the webhook answers.
func install(t *testing.T) {
	t.Helper()
	harness.Kubectl(t, "", "apply", "--server-side", "-k", harness.Manifests())
	harness.WaitReady(t, "grayscale-system", "grayscale")
	harness.Eventually(t, "the webhook answers", func() error {
		out, err := harness.TryKubectl(t, web("probe", "strategy: none"), "create", "--dry-run=server", "-f", "-")
		if err == nil {
			return fmt.Errorf("a wrong strategy is admitted: %s", out)
		}
		return nil
	})
}

func nothingOfGrayscale(t *testing.T) {
	t.Helper()
	ctx, kube := context.Background(), harness.Kube()
	_, namespace := kube.CoreV1().Namespaces().Get(ctx, "grayscale-system", metav1.GetOptions{})
	_, mutating := kube.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, "grayscale", metav1.GetOptions{})
	_, validating := kube.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(ctx, "grayscale", metav1.GetOptions{})
	_, role := kube.RbacV1().ClusterRoles().Get(ctx, "grayscale", metav1.GetOptions{})
	_, binding := kube.RbacV1().ClusterRoleBindings().Get(ctx, "grayscale", metav1.GetOptions{})
	for what, err := range map[string]error{"the namespace": namespace, "the mutating webhook configuration": mutating,
		"the validating webhook configuration": validating, "the ClusterRole": role, "the ClusterRoleBinding": binding} {
		if !apierrors.IsNotFound(err) {
			t.Errorf("%s is still there: %v", what, err)
		}
	}
}

// routesResolve fails the test if the routes of Service web name a subset that does not exist.
func (s story) routesResolve() {
	s.T.Helper()
	ctx, api := context.Background(), harness.Istio().NetworkingV1()
	vs, err := api.VirtualServices(s.NS).Get(ctx, "web-grayscale", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return
	}
	if err != nil {
		s.T.Fatal(err)
	}
	rule, err := api.DestinationRules(s.NS).Get(ctx, "web-grayscale", metav1.GetOptions{})
	if err != nil {
		s.T.Fatal(err)
	}
	for _, subset := range istio.ReferencedSubsets(vs) {
		if !slices.Contains(istio.Subsets(rule), subset) {
			s.T.Errorf("the routes name subset %s, the DestinationRule has %v", subset, istio.Subsets(rule))
		}
	}
}
