package gitops

import (
	"context"
	"fmt"
	"testing"

	"github.com/fluxcd/pkg/ssa/jsondiff"
	"github.com/fluxcd/pkg/ssa/normalize"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"grayscale.dev/grayscale/test/harness"
)

// A HelmRelease of Flux is Helm's own install and upgrade, and a drift detection that compares what Helm has rendered
// with the cluster.
func TestFluxHelmRelease(t *testing.T) {
	harness.UseProduct(t)
	harness.Kubectl(t, "", "create", "namespace", system)
	t.Cleanup(func() { harness.Kubectl(t, "", "delete", "namespace", system) })
	harness.Helm(t, "install", "grayscale", chart, "-n", system, "--wait")
	answers(t)
	noDrift(t, "grayscale", system)

	ns := harness.Namespace(t)
	upgrade := func(versions string) {
		harness.Helm(t, "upgrade", "--install", "web", application, "-n", ns, "--set-json", "versions="+versions, "--wait")
	}
	annotate := func(mark string) {
		harness.Kubectl(t, "", "annotate", "--overwrite", "-n", ns, "deploy/web-v2", mark)
	}
	upgrade(onlyV1)
	harness.WaitServed(t, harness.URL(ns, "web", 80))
	harness.StartLoad(t, harness.URL(ns, "web", 80), loadRate)
	upgrade(canary("20"))
	harness.WaitProgrammed(t, ns, "web-v2", "canary 20% of web")
	noDrift(t, "web", ns)
	annotate("grayscale.dev/weight=50")
	harness.WaitProgrammed(t, ns, "web-v2", "canary 50% of web")
	if len(drift(t, "web", ns)) != 1 {
		t.Error("Flux does not see that somebody has changed a weight that Git has")
	}
	upgrade(steered)
	annotate("grayscale.dev/weight=40")
	harness.WaitProgrammed(t, ns, "web-v2", "canary 40% of web")
	noDrift(t, "web", ns)
	upgrade(steered)
	harness.WaitProgrammed(t, ns, "web-v2", "canary 40% of web")
	harness.AssertSplit(t, harness.URL(ns, "web", 80), map[string]float64{"v1": 60, "v2": 40})
	harness.Helm(t, "uninstall", "grayscale", "-n", system, "--wait")
}

func noDrift(t *testing.T, release, namespace string) {
	t.Helper()
	for _, d := range drift(t, release, namespace) {
		t.Errorf("Flux sees a drift of HelmRelease %s, where nobody changed it: %s", release, d)
	}
}

// drift is as Flux's helm-controller detects it (https://fluxcd.io/flux/components/helm/helmreleases/#drift-detection).
func drift(t *testing.T, release, namespace string) []string {
	t.Helper()
	objects := parse(t, harness.Helm(t, "get", "manifest", release, "-n", namespace), namespace)
	if err := normalize.UnstructuredList(objects); err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		set(o, map[string]string{"app.kubernetes.io/managed-by": "Helm"}, "labels")
		set(o, map[string]string{"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": namespace}, "annotations")
	}
	found, err := jsondiff.UnstructuredList(context.Background(), client.NewDryRunClient(newClient(t)), objects, jsondiff.FieldOwner("helm-controller"),
		jsondiff.ExclusionSelector{"helm.toolkit.fluxcd.io/driftDetection": "disabled"}, jsondiff.MaskSecrets(true), jsondiff.Rationalize(true))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, d := range found {
		if d.Type != jsondiff.DiffTypeNone {
			out = append(out, fmt.Sprintf("%s: %s: %s", d.GetName(), d.Type, d.Patch))
		}
	}
	return out
}
