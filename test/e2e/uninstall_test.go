package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/test/harness"
)

var manifests = filepath.Join("..", "..", "manifests", "base")

// Uninstalled in the middle of whatever is going on, with releases in every state: nothing is left paused, no route names
// a subset that does not exist, nothing of grayscale's stays, and no request is lost. Installed again, every release goes
// on. The test is not parallel: grayscale is everybody's.
func TestUninstallAtAnyMoment(t *testing.T) {
	// An adoption takes a few hundred milliseconds from the moment its candidate is applied.
	for _, moment := range []time.Duration{0, 150 * time.Millisecond, 600 * time.Millisecond} {
		t.Run(moment.String(), func(t *testing.T) {
			running := programmed(t, `weight: "30"`)
			waiting := open(t) // for a stable that never comes: held for good
			waiting.apply(web("web-v2", "strategy: canary", "stable: nobody"))
			harness.WaitCondition(t, waiting.ns, "web-v2", "grayscale.dev/Accepted", "False", "nobody")
			beginning := open(t)
			before := beginning.pods("web-v1")
			beginning.apply(web("web-v2", "strategy: canary", `weight: "20"`))

			time.Sleep(moment)
			harness.Kubectl(t, "", "delete", "-k", manifests)
			t.Cleanup(func() { install(t) })
			nothingOfGrayscale(t)
			for _, s := range []story{running, waiting, beginning} {
				for _, name := range []string{"web-v1", "web-v2"} {
					harness.WaitReady(t, s.ns, name) // which a paused one is not
				}
				s.routesResolve()
			}
			running.served(split{"v1": 70, "v2": 30})

			install(t)
			beginning.programmed("web-v2", "canary 20% of web")
			beginning.served(split{"v1": 80, "v2": 20})
			beginning.untouched("web-v1", before)
			running.annotate("web-v2", "weight=60")
			running.programmed("web-v2", "canary 60% of web")
			running.served(split{"v1": 40, "v2": 60})
		})
	}
}

// open is a namespace of its own with a plain web-v1 under load; the test need not be parallel.
func open(t *testing.T) story {
	t.Helper()
	ns := harness.Namespace(t)
	s := story{t: t, ns: ns, url: harness.URL(ns, "web", 80)}
	s.apply(all(webService, web("web-v1")))
	harness.WaitReady(t, ns, "web-v1")
	s.load(s.url)
	return s
}

// programmed is open with a canary that gets what it asks for.
func programmed(t *testing.T, weight string) story {
	t.Helper()
	s := open(t)
	s.apply(web("web-v2", "strategy: canary", weight))
	harness.WaitCondition(t, s.ns, "web-v2", "grayscale.dev/Programmed", "True", "of web")
	return s
}

// install applies the manifests and waits until the webhook answers.
func install(t *testing.T) {
	t.Helper()
	harness.Kubectl(t, "", "apply", "--server-side", "-k", manifests)
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

// routesResolve fails the test where the routes of Service web name a subset that does not exist.
func (s story) routesResolve() {
	s.t.Helper()
	ctx, api := context.Background(), harness.Istio().NetworkingV1()
	vs, err := api.VirtualServices(s.ns).Get(ctx, "web-grayscale", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return
	}
	if err != nil {
		s.t.Fatal(err)
	}
	rule, err := api.DestinationRules(s.ns).Get(ctx, "web-grayscale", metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, subset := range istio.ReferencedSubsets(vs) {
		if !slices.Contains(istio.Subsets(rule), subset) {
			s.t.Errorf("the routes name subset %s, the DestinationRule has %v", subset, istio.Subsets(rule))
		}
	}
}
