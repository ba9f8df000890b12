package gitops

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/cache"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/diff"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/engine"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/health"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/sync"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/sync/common"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/utils/kube"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/utils/tracing"
	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// What Argo CD puts around its engine: its field manager, and how it marks what is an Application's, by both of its
// methods (https://argo-cd.readthedocs.io/en/stable/user-guide/resource_tracking/).
const (
	argoManager  = "argocd-controller"
	argoTracks   = "argocd.argoproj.io/tracking-id"
	argoInstance = "app.kubernetes.io/instance"
)

type argoSettings struct{}

// IsExcludedResource is Argo CD's default setting resource.exclusions, as far as the lab has such kinds: it neither
// sees nor applies them (https://argo-cd.readthedocs.io/en/stable/operator-manual/upgrading/2.14-3.0/).
func (argoSettings) IsExcludedResource(group, kind, _ string) bool {
	return kind == "Endpoints" && group == "" || kind == "EndpointSlice" || kind == "Lease" || group == "events.k8s.io" ||
		kind == "Event" && group == "" || group == "authentication.k8s.io" || group == "authorization.k8s.io" || group == "certificates.k8s.io"
}

// GetResourceHealth overrides nothing.
func (argoSettings) GetResourceHealth(*unstructured.Unstructured) (*health.HealthStatus, error) {
	return nil, nil
}

// argoCD is one Argo CD.
type argoCD struct {
	client  client.Client
	cache   cache.ClusterCache
	engine  engine.GitOpsEngine
	dryRuns diff.KubeApplier
}

func startArgoCD(t testing.TB) *argoCD {
	t.Helper()
	config, quiet := access(), logr.Discard()
	a := &argoCD{client: newClient(t)}
	a.cache = cache.NewClusterCache(config, cache.SetLogr(quiet), cache.SetSettings(cache.Settings{ResourceHealthOverride: argoSettings{}, ResourcesFilter: argoSettings{}}),
		cache.SetPopulateResourceInfoHandler(func(o *unstructured.Unstructured, _ bool) (any, bool) {
			id := o.GetAnnotations()[argoTracks]
			return id, id != ""
		}))
	a.engine = engine.NewEngine(config, a.cache, engine.WithLogr(quiet))
	stop, err := a.engine.Run()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	ctl := &kube.KubectlCmd{Log: quiet, Tracer: tracing.NopTracer{}}
	var done func()
	if a.dryRuns, done, err = ctl.ManageServerSideDiffDryRuns(config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(done)
	return a
}

// argoApp is an Application of Argo CD, with prune: true; serverSide is its sync option ServerSideApply=true.
type argoApp struct {
	*argoCD
	name, namespace string
	serverSide      bool
}

func (a *argoApp) trackingID(k kube.ResourceKey) string {
	return fmt.Sprintf("%s:%s/%s:%s/%s", a.name, k.Group, k.Kind, k.Namespace, k.Name)
}

// targets are what Argo CD makes of the manifests: marked, and without the kinds that it is not to see.
func (a *argoApp) targets(git []*unstructured.Unstructured) []*unstructured.Unstructured {
	out := slices.DeleteFunc(copies(git), func(o *unstructured.Unstructured) bool {
		return argoSettings{}.IsExcludedResource(o.GroupVersionKind().Group, o.GetKind(), "")
	})
	for _, o := range out {
		set(o, map[string]string{argoTracks: a.trackingID(kube.GetResourceKey(o))}, "annotations")
		set(o, map[string]string{argoInstance: a.name}, "labels")
	}
	return out
}

func (a *argoApp) sync(t testing.TB, git []*unstructured.Unstructured) {
	t.Helper()
	a.syncWith(t, git)
}

func (a *argoApp) syncWith(t testing.TB, git []*unstructured.Unstructured, more ...sync.SyncOpt) {
	t.Helper()
	results, err := a.engine.Sync(context.Background(), a.targets(git),
		func(r *cache.Resource) bool { return r.Info == a.trackingID(r.ResourceKey()) }, "revision", a.namespace,
		append(more, sync.WithPrune(true), sync.WithServerSideApply(a.serverSide), sync.WithServerSideApplyManager(argoManager), sync.WithLogr(logr.Discard()))...)
	if err != nil {
		t.Fatalf("Argo CD's sync of %s: %v", a.name, err)
	}
	for _, r := range results {
		if r.Status != common.ResultCodeSynced && r.Status != common.ResultCodePruned {
			t.Fatalf("Argo CD's sync of %s: %s: %s %s", a.name, r.ResourceKey, r.Status, r.Message)
		}
	}
}

// differences asks all of Argo CD's ways to compare, whichever it has been set to.
func (a *argoApp) differences(t testing.TB, git []*unstructured.Unstructured) []string {
	t.Helper()
	var found []string
	for _, target := range a.targets(git) {
		if hook(target) {
			continue // Argo CD compares no hooks
		}
		now := live(t, a.client, target)
		for _, way := range []struct {
			name    string
			options []diff.Option
		}{
			{"three-way", nil},
			{"structured merge", []diff.Option{diff.WithStructuredMergeDiff(true)}},
			{"server-side", []diff.Option{diff.WithServerSideDiff(true)}},
			{"server-side with webhooks", []diff.Option{diff.WithServerSideDiff(true), diff.WithIgnoreMutationWebhook(false)}},
		} {
			result, err := diff.Diff(target, now.DeepCopy(), append(way.options, diff.WithLogr(logr.Discard()), diff.WithManager(argoManager),
				diff.WithGVKParser(a.cache.GetGVKParser()), diff.WithServerSideDryRunner(diff.NewK8sServerSideDryRunner(a.dryRuns)))...)
			if err != nil {
				t.Fatalf("Argo CD's %s diff of %s: %v", way.name, name(target), err)
			}
			if result.Modified {
				found = append(found, fmt.Sprintf("%s, %s: %s", name(target), way.name, cmp.Diff(indented(result.NormalizedLive), indented(result.PredictedLive))))
			}
		}
	}
	return found
}

func (a *argoApp) health(t testing.TB, live *unstructured.Unstructured) string {
	t.Helper()
	h, err := health.GetResourceHealth(live, argoSettings{})
	if err != nil || h == nil {
		t.Fatalf("the health of %s: %v", name(live), err)
	}
	return string(h.Status)
}

func (a *argoApp) tracks(live *unstructured.Unstructured) bool {
	return live.GetAnnotations()[argoTracks] == a.trackingID(kube.GetResourceKey(live)) || live.GetLabels()[argoInstance] == a.name
}

func (a *argoApp) words() (held, well string) {
	return string(health.HealthStatusSuspended), string(health.HealthStatusHealthy)
}

func (a *argoApp) ways() int { return 4 }

func (a *argoApp) keeps() bool { return true }

// below are the kinds of what Argo CD's tree of resources shows below an object.
func (a *argoApp) below(o *unstructured.Unstructured) []string {
	var kinds []string
	a.cache.IterateHierarchyV2([]kube.ResourceKey{kube.GetResourceKey(o)}, func(r *cache.Resource, _ map[kube.ResourceKey]*cache.Resource) bool {
		kinds = append(kinds, r.Ref.Kind)
		return true
	})
	return kinds
}
