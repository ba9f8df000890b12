package gitops

import (
	"context"
	"fmt"
	"sort"
	"testing"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/sync"
	"github.com/fluxcd/pkg/ssa"
	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"grayscale.dev/grayscale/test/harness"
)

// Argo CD installs grayscale from its chart, and plays two applications' releases, with client-side and with
// server-side apply.
func TestArgoCD(t *testing.T) {
	harness.UseProduct(t)
	harness.Kubectl(t, "", "create", "namespace", system)
	t.Cleanup(func() { harness.Kubectl(t, "", "delete", "namespace", system) })
	git := parse(t, harness.Helm(t, "template", "grayscale", chart, "-n", system), system)
	argo := startArgoCD(t)
	own := &argoApp{argoCD: argo, name: "grayscale", namespace: system}
	for _, serverSide := range []bool{false, true} { // the second one takes over from the first
		own.serverSide = serverSide
		own.sync(t, git)
		filled(t, own, git)
	}
	t.Run("applications", func(t *testing.T) {
		for way, serverSide := range map[string]bool{"client-side": false, "server-side": true} {
			t.Run(way, func(t *testing.T) {
				t.Parallel()
				newStory(t, func(ns string) tool {
					return &argoApp{argoCD: argo, name: "web-" + way, namespace: ns, serverSide: serverSide}
				}).play()
			})
		}
	})
	replaced(t, own, git)
	uninstall(t, own, git)
}

// replaced is what becomes of what grayscale has filled in, where Argo CD's sync option Replace=true takes it away.
func replaced(t *testing.T, own *argoApp, git []*unstructured.Unstructured) {
	t.Helper()
	own.syncWith(t, git, sync.WithReplace(true))
	answers(t)
	c := newClient(t)
	harness.Eventually(t, "what was taken away is put back", func() error { return filledIn(c) })
}

// Flux installs grayscale from the kustomize base, and plays two applications' releases, one of which has the
// annotation that leaves to kubectl what kubectl has written.
func TestFlux(t *testing.T) {
	harness.UseProduct(t)
	git := parse(t, harness.Kubectl(t, "", "kustomize", base), system)
	own := newKustomization(t, "grayscale", "flux-system")
	end := copies(git)
	sort.Sort(sort.Reverse(ssa.SortableUnstructureds(end))) // as Flux prunes
	if last := end[len(end)-1]; last.GetKind() != "Namespace" {
		t.Errorf("Flux prunes %s after the namespace: docs/install.md says that nobody would ask the webhook any more", name(last))
	}
	own.sync(t, git)
	filled(t, own, git)
	t.Run("applications", func(t *testing.T) {
		for way, merge := range map[string]bool{"owned": false, "merged": true} {
			t.Run(way, func(t *testing.T) {
				t.Parallel()
				k := newKustomization(t, "web-"+way, "flux-system")
				s := newStory(t, func(string) tool { return k })
				if k.merge = merge; merge {
					s.edits = append(s.edits, annotated(fluxSSA, "Merge"))
				}
				s.play()
			})
		}
	})
	uninstall(t, own, git)
}

// filled waits until grayscale has filled in what its manifests leave to it, and fails the test where the tool sees a
// difference then, or takes some of it away.
func filled(t *testing.T, by tool, git []*unstructured.Unstructured) {
	t.Helper()
	answers(t)
	c := newClient(t)
	before := installed(t, c, git)
	for _, d := range by.differences(t, git) {
		t.Errorf("the cluster differs from Git, where grayscale has only filled in what is its own: %s", d)
	}
	by.sync(t, git)
	by.sync(t, git)
	if diff := cmp.Diff(before, installed(t, c, git)); diff != "" {
		t.Errorf("syncing again changed something (-before +after):\n%s", diff)
	}
	answers(t)
}

// filledIn looks for what grayscale fills in: CAs and paths of the webhooks, the Secret, the Lease.
func filledIn(c client.Client) error {
	ctx, key := context.Background(), client.ObjectKey{Name: "grayscale"}
	var mutating admissionregistrationv1.MutatingWebhookConfiguration
	var validating admissionregistrationv1.ValidatingWebhookConfiguration
	var secret corev1.Secret
	var lease coordinationv1.Lease
	for into, key := range map[client.Object]client.ObjectKey{&mutating: key, &validating: key,
		&secret: {Namespace: system, Name: "grayscale-webhook-certificate"}, &lease: {Namespace: system, Name: "grayscale"}} {
		if err := c.Get(ctx, key, into); err != nil {
			return err
		}
	}
	services := []admissionregistrationv1.WebhookClientConfig{mutating.Webhooks[0].ClientConfig}
	for _, w := range validating.Webhooks {
		services = append(services, w.ClientConfig)
	}
	for _, s := range services {
		if len(s.CABundle) == 0 || s.Service.Path == nil || *s.Service.Path == "" {
			return fmt.Errorf("a webhook without a CA or a path: %v", s)
		}
	}
	if len(secret.Data) == 0 || lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" {
		return fmt.Errorf("the Secret has %d data, the Lease is %v", len(secret.Data), lease.Spec)
	}
	return nil
}

// installed are the objects of Git as the cluster has them, by name.
func installed(t *testing.T, c client.Client, git []*unstructured.Unstructured) map[string]string {
	t.Helper()
	if err := filledIn(c); err != nil {
		t.Fatal(err)
	}
	ctx, out := context.Background(), map[string]string{}
	for _, o := range git {
		switch {
		case o.GetKind() == "Lease": // whose time moves
			holder, _, err := unstructured.NestedString(live(t, c, o).Object, "spec", "holderIdentity")
			if err != nil {
				t.Fatal(err)
			}
			out[name(o)] = holder
		case hook(o):
			if err := c.Get(ctx, client.ObjectKeyFromObject(o), o.DeepCopy()); client.IgnoreNotFound(err) != nil || err == nil {
				t.Errorf("the hook %s, which ends grayscale, is there: %v", name(o), err)
			}
		default:
			now := live(t, c, o)
			out[name(now)] = "at " + now.GetResourceVersion() + content(now)
			if now.GetKind() == "Deployment" { // its status moves
				out[name(now)] = content(now)
			}
		}
	}
	return out
}

// uninstall is as docs/install.md has it for tools that delete objects one by one. No Deployment may stay held.
func uninstall(t *testing.T, by tool, git []*unstructured.Unstructured) {
	t.Helper()
	ns := harness.Namespace(t)
	orphan := harness.App{Name: "web", Annotations: map[string]string{"grayscale.dev/strategy": "canary"}}.Deployment()
	harness.Kubectl(t, harness.YAML(t, orphan), "apply", "-n", ns, "-f", "-")
	harness.WaitCondition(t, ns, "web", "grayscale.dev/Accepted", "False", "")
	harness.Kubectl(t, "", "create", "configmap", "grayscale-retire", "-n", system)
	if len(by.differences(t, git)) == 0 {
		t.Error("the tool does not see the end of grayscale: docs/install.md says that it would put the webhooks back")
	}
	by.sync(t, nil)
	harness.WaitReady(t, ns, "web") // which a paused one is not
	c := newClient(t)
	harness.Eventually(t, "nothing of grayscale is left", func() error {
		for _, o := range git {
			if o.GetKind() == "Lease" || hook(o) { // Argo CD does not see the one, and has not made the other
				continue
			}
			if err := c.Get(context.Background(), client.ObjectKeyFromObject(o), o.DeepCopy()); !apierrors.IsNotFound(err) {
				return fmt.Errorf("%s: %v", name(o), err)
			}
		}
		return nil
	})
}
