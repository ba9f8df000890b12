package gitops

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling"
	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/ssa"
	"github.com/fluxcd/pkg/ssa/normalize"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// What Flux's kustomize-controller puts around its applier
// (https://fluxcd.io/flux/components/kustomize/kustomizations/#controlling-the-apply-behavior-of-resources).
const (
	fluxManager = "kustomize-controller"
	fluxGroup   = "kustomize.toolkit.fluxcd.io"
	fluxSSA     = fluxGroup + "/ssa"
)

// kustomization is a Kustomization of Flux, with prune: true and wait: false.
type kustomization struct {
	client          client.Client
	manager         *ssa.ResourceManager
	name, namespace string
	merge           bool                         // its manifests carry the annotation ssa: Merge
	inventory       []*unstructured.Unstructured // what the last run applied
}

func newKustomization(t testing.TB, name, namespace string) *kustomization {
	t.Helper()
	c := newClient(t)
	return &kustomization{client: c, name: name, namespace: namespace,
		manager: ssa.NewResourceManager(c, polling.NewStatusPoller(c, c.RESTMapper(), polling.Options{}), ssa.Owner{Field: fluxManager, Group: fluxGroup})}
}

func (k *kustomization) targets(t testing.TB, git []*unstructured.Unstructured) []*unstructured.Unstructured {
	t.Helper()
	out := copies(git)
	k.manager.SetOwnerLabels(out, k.name, k.namespace)
	if err := normalize.UnstructuredList(out); err != nil {
		t.Fatal(err)
	}
	return out
}

// applyOptions are those of kustomize-controller: what kubectl has written is Flux's to take back, unless Merge says
// no.
func applyOptions() ssa.ApplyOptions {
	o := ssa.DefaultApplyOptions()
	o.ExclusionSelector = map[string]string{fluxGroup + "/reconcile": "disabled", fluxSSA: "Ignore"}
	o.IfNotPresentSelector = map[string]string{fluxSSA: "IfNotPresent"}
	o.ForceSelector = map[string]string{fluxGroup + "/force": "enabled"}
	o.Cleanup = ssa.ApplyCleanupOptions{
		Annotations: []string{corev1.LastAppliedConfigAnnotation},
		FieldManagers: []ssa.FieldManager{
			{Name: "kubectl", OperationType: metav1.ManagedFieldsOperationApply},
			{Name: "kubectl", OperationType: metav1.ManagedFieldsOperationUpdate},
			{Name: "before-first-apply", OperationType: metav1.ManagedFieldsOperationUpdate},
			{Name: fluxManager, OperationType: metav1.ManagedFieldsOperationUpdate},
		},
		Exclusions: map[string]string{fluxSSA: "Merge"},
	}
	return o
}

func (k *kustomization) sync(t testing.TB, git []*unstructured.Unstructured) {
	t.Helper()
	ctx := context.Background()
	applied := k.targets(t, git)
	if _, err := k.manager.ApplyAllStaged(ctx, copies(applied), applyOptions()); err != nil {
		t.Fatalf("Flux's run of %s: %v", k.name, err)
	}
	var gone []*unstructured.Unstructured
	for _, o := range k.inventory {
		if !contains(applied, o) {
			gone = append(gone, o)
		}
	}
	k.inventory = applied
	options := ssa.DefaultDeleteOptions()
	options.Inclusions = k.manager.GetOwnerLabels(k.name, k.namespace)
	options.Exclusions = map[string]string{fluxGroup + "/prune": "disabled", fluxGroup + "/reconcile": "disabled"}
	if _, err := k.manager.DeleteAll(ctx, gone, options); err != nil {
		t.Fatalf("Flux's pruning of %s: %v", k.name, err)
	}
	if err := k.manager.WaitForTermination(gone, ssa.WaitOptions{Interval: 100 * time.Millisecond, Timeout: time.Minute}); err != nil {
		t.Fatalf("Flux's pruning of %s: %v", k.name, err)
	}
}

func contains(all []*unstructured.Unstructured, one *unstructured.Unstructured) bool {
	for _, o := range all {
		if o.GroupVersionKind() == one.GroupVersionKind() && client.ObjectKeyFromObject(o) == client.ObjectKeyFromObject(one) {
			return true
		}
	}
	return false
}

func (k *kustomization) differences(t testing.TB, git []*unstructured.Unstructured) []string {
	t.Helper()
	var found []string
	for _, target := range k.targets(t, git) {
		change, before, after, err := k.manager.Diff(context.Background(), target, ssa.DefaultDiffOptions())
		if err != nil {
			t.Fatalf("Flux's diff of %s: %v", name(target), err)
		}
		if change.Action != ssa.UnchangedAction {
			found = append(found, fmt.Sprintf("%s: %s: %s", name(target), change.Action, cmp.Diff(before, after)))
		}
	}
	return found
}

func (k *kustomization) health(t testing.TB, live *unstructured.Unstructured) string {
	t.Helper()
	result, err := status.Compute(live)
	if err != nil {
		t.Fatalf("the health of %s: %v", name(live), err)
	}
	return string(result.Status)
}

func (k *kustomization) tracks(live *unstructured.Unstructured) bool {
	for key, value := range k.manager.GetOwnerLabels(k.name, k.namespace) {
		if live.GetLabels()[key] != value {
			return false
		}
	}
	return true
}

func (k *kustomization) words() (held, well string) {
	return string(status.InProgressStatus), string(status.CurrentStatus)
}

func (k *kustomization) ways() int { return 1 }

func (k *kustomization) keeps() bool { return k.merge }
