package gitops

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"grayscale.dev/grayscale/test/harness"
)

// story is one application, examples/chart, that a tool brings from Git into a namespace of its own, with requests to
// it until the test ends, of which none may be lost.
type story struct {
	harness.Story
	tool   tool
	client client.Client
	git    []*unstructured.Unstructured
	edits  []func(*unstructured.Unstructured) // what Git says beside the chart
}

// What Git says of web-v2, beside web-v1 or in its stead.
const (
	onlyV1   = `{}`
	steered  = `{"v2": {"image": "example/web:v2", "release": {"strategy": "canary"}}}` // people set the weight
	promoted = `{"v2": {"image": "example/web:v2"}}`
	onlyV2   = `{"v1": null, "v2": {"image": "example/web:v2"}}`
)

func canary(weight string) string {
	return fmt.Sprintf(`{"v2": {"image": "example/web:v2", "release": {"strategy": "canary", "weight": %q}}}`, weight)
}

// newStory begins with what was there before anybody released anything.
func newStory(t *testing.T, bring func(namespace string) tool) *story {
	t.Helper()
	s := &story{Story: harness.NewStory(t), client: newClient(t)}
	s.tool = bring(s.NS)
	s.commit(onlyV1)
	harness.WaitReady(t, s.NS, "web-v1")
	s.Load(s.URL, loadRate)
	return s
}

// loadRate is in requests per second.
const loadRate = 60

// commit changes what Git says, and syncs.
func (s *story) commit(versions string) {
	s.T.Helper()
	s.git = parse(s.T, harness.Helm(s.T, "template", "web", application, "-n", s.NS, "--set-json", "versions="+versions), s.NS)
	for _, o := range s.git {
		for _, edit := range s.edits {
			edit(o)
		}
	}
	s.tool.sync(s.T, s.git)
}

// annotated is an edit of Git's web-v2.
func annotated(key, value string) func(*unstructured.Unstructured) {
	return func(o *unstructured.Unstructured) {
		if o.GetName() == "web-v2" {
			set(o, map[string]string{key: value}, "annotations")
		}
	}
}

// steady fails the test where the tool sees a difference between Git and the cluster, or where its syncs change
// anything: an object, a ReplicaSet, a pod.
func (s *story) steady() {
	s.T.Helper()
	s.same()
	before := s.state()
	s.tool.sync(s.T, s.git)
	s.tool.sync(s.T, s.git)
	if diff := cmp.Diff(before, s.state()); diff != "" {
		s.T.Errorf("syncing again changed something (-before +after):\n%s", diff)
	}
}

func (s *story) same() {
	s.T.Helper()
	for _, d := range s.tool.differences(s.T, s.git) {
		s.T.Errorf("the cluster differs from Git, where nobody changed it: %s", d)
	}
}

// state is everything in the namespace that a sync could change or roll.
func (s *story) state() map[string]string {
	s.T.Helper()
	out := map[string]string{}
	for _, kind := range []schema.GroupVersionKind{
		{Version: "v1", Kind: "ServiceList"},
		{Group: "apps", Version: "v1", Kind: "DeploymentList"},
		{Group: "apps", Version: "v1", Kind: "ReplicaSetList"},
		{Group: "networking.istio.io", Version: "v1", Kind: "VirtualServiceList"},
		{Group: "networking.istio.io", Version: "v1", Kind: "DestinationRuleList"},
	} {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(kind)
		if err := s.client.List(context.Background(), list, client.InNamespace(s.NS)); err != nil {
			s.T.Fatal(err)
		}
		for _, o := range list.Items {
			out[name(&o)] = content(&o)
		}
	}
	for pod, uid := range harness.PodUIDs(s.T, s.NS, "app=web") {
		out["Pod "+pod] = uid
	}
	return out
}

// derived fails the test where the tool takes the routes for the application's: it would prune them, as Git has none.
func (s *story) derived() {
	s.T.Helper()
	for _, kind := range []string{"VirtualService", "DestinationRule"} {
		o := &unstructured.Unstructured{}
		o.SetGroupVersionKind(schema.GroupVersionKind{Group: "networking.istio.io", Version: "v1", Kind: kind})
		if err := s.client.Get(context.Background(), client.ObjectKey{Namespace: s.NS, Name: "web-grayscale"}, o); err != nil {
			s.T.Errorf("the derived %s: %v", kind, err)
		}
		if s.tool.tracks(o) {
			s.T.Errorf("the tool takes the derived %s for the application's: labels %v, annotations %v", kind, o.GetLabels(), o.GetAnnotations())
		}
	}
	if argo, ok := s.tool.(*argoApp); ok {
		harness.Eventually(s.T, "Argo CD shows the routes below the Service", func() error {
			service := s.git[slices.IndexFunc(s.git, func(o *unstructured.Unstructured) bool { return o.GetKind() == "Service" })]
			if kinds := argo.below(service); !slices.Contains(kinds, "VirtualService") || !slices.Contains(kinds, "DestinationRule") {
				return fmt.Errorf("only %v", kinds)
			}
			return nil
		})
	}
	for _, o := range s.git {
		if !s.tool.tracks(live(s.T, s.client, o)) {
			s.T.Errorf("the tool does not take %s for the application's", name(o))
		}
	}
}

func (s *story) healthy(deployment, word string) {
	s.T.Helper()
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"})
	o.SetNamespace(s.NS)
	o.SetName(deployment)
	if got := s.tool.health(s.T, live(s.T, s.client, o)); got != word {
		s.T.Errorf("%s is %s to the tool, want %s", deployment, got, word)
	}
}

func (s *story) programmed(percent string) {
	s.T.Helper()
	s.Programmed("web-v2", "canary "+percent+"% of web")
}

func (s *story) served(v1, v2 float64) {
	s.T.Helper()
	harness.AssertShares(s.T, s.URL, v1, v2)
}

// play is a release from the first commit to the last one, with the tool looking at every state on the way.
func (s *story) play() {
	held, well := s.tool.words()
	pods := func() map[string]string { return harness.PodUIDs(s.T, s.NS, "instance=web-v1") }
	stable := pods()
	s.steady()

	// Held for as long as Git has a mistake in it.
	s.edits = append(s.edits, annotated("grayscale.dev/stable", "nobody"))
	s.commit(canary("20"))
	harness.WaitCondition(s.T, s.NS, "web-v2", "grayscale.dev/Accepted", "False", "nobody")
	s.healthy("web-v2", held)
	s.healthy("web-v1", well)
	s.steady()

	s.edits = s.edits[:len(s.edits)-1]
	s.commit(canary("20"))
	s.programmed("20")
	harness.WaitReady(s.T, s.NS, "web-v2")
	s.healthy("web-v2", well)
	s.healthy("web-v1", well)
	s.derived()
	s.steady()
	s.served(80, 20)

	s.byHand()

	s.commit(canary("100"))
	s.programmed("100")
	s.commit(promoted)
	harness.Eventually(s.T, "the subset that nothing is routed to is gone", func() error {
		out, err := harness.TryKubectl(s.T, "", "get", "-n", s.NS, "destinationrule/web-grayscale", "-o", "jsonpath={.spec.subsets[*].name}")
		if err == nil && out != "v2" {
			err = errors.New(out)
		}
		return err
	})
	s.served(0, 100)
	s.healthy("web-v2", well)
	s.healthy("web-v1", well)
	s.derived()
	s.steady()
	if diff := cmp.Diff(stable, pods()); diff != "" {
		s.T.Errorf("the pods of web-v1 have not stayed the same (-before +after):\n%s", diff)
	}

	s.commit(onlyV2)
	harness.Eventually(s.T, "the routes are gone, as one version is left", func() error {
		out, err := harness.TryKubectl(s.T, "", "get", "-n", s.NS, "virtualservices,destinationrules")
		if err == nil && !strings.Contains(out, "No resources found") {
			err = errors.New(out)
		}
		return err
	})
	s.served(0, 100)
	harness.Eventually(s.T, "the pods of web-v1 have ended", func() error {
		if left := len(pods()); left > 0 {
			return fmt.Errorf("%d are left", left)
		}
		return nil
	})
	s.steady()
}

// byHand is what becomes of kubectl annotate.
func (s *story) byHand() {
	s.T.Helper()
	s.Annotate("web-v2", "weight=50")
	s.programmed("50")
	if found := s.tool.differences(s.T, s.git); len(found) != s.tool.ways() {
		s.T.Errorf("not each of the tool's %d ways sees that somebody has changed a weight that Git has: %v", s.tool.ways(), found)
	}
	s.tool.sync(s.T, s.git)
	s.programmed("20")
	s.served(80, 20)
	s.same()

	s.commit(steered)
	s.programmed("0")
	s.Annotate("web-v2", "weight=40")
	s.programmed("40")
	s.same() // which is no promise of Flux's that its next run changes nothing
	s.tool.sync(s.T, s.git)
	if s.tool.keeps() {
		s.steady()
		s.programmed("40")
		s.served(60, 40)
	} else {
		s.programmed("0")
		s.served(100, 0)
	}

	s.commit(canary("60"))
	s.programmed("60")
	s.served(40, 60)
}
