// Package gitops tries grayscale under Argo CD and Flux: both tools' own engines apply manifests as they would find
// them in Git, compare them with the cluster, judge its health and prune it, while grayscale does its part on the same
// objects.
//
// It is a module of its own: the tools' packages are no concern of the product's.
package gitops

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fluxcd/pkg/ssa/utils"
	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"grayscale.dev/grayscale/test/harness"
)

const system = "grayscale-system"

var (
	root        = filepath.Join("..", "..")
	chart       = filepath.Join(root, "manifests", "chart")
	base        = filepath.Join(root, "manifests", "base")
	application = filepath.Join(root, "examples", "chart")
)

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard()) // what the tools have to say, they say in their answers
	os.Exit(harness.Main(m, harness.Options{}))
}

// tool is one of the two, with what it has been told about one application. Objects are what it finds in Git.
type tool interface {
	// sync is one run of the tool: it applies what is in Git, and prunes what it takes for the application's and Git has
	// not.
	sync(t testing.TB, git []*unstructured.Unstructured)
	// differences are what the tool says that a sync would change, by each of its ways to tell.
	differences(t testing.TB, git []*unstructured.Unstructured) []string
	// health is the tool's word for the state of an object.
	health(t testing.TB, live *unstructured.Unstructured) string
	// tracks reports whether the tool takes an object of the cluster for the application's.
	tracks(live *unstructured.Unstructured) bool
	// words are those of health for a Deployment that is held, and for one that is as it should be.
	words() (held, well string)
	// ways is how many ways the tool has to tell a difference.
	ways() int
	// keeps reports whether a sync leaves an annotation that was made by hand, where Git has none of that key.
	keeps() bool
}

// access is the lab's, without a log of the API server's warnings.
func access() *rest.Config {
	config := harness.Config()
	config.WarningHandler = rest.NoWarnings{}
	return config
}

// newClient is a client of the lab's API server for any kind of object.
func newClient(t testing.TB) client.Client {
	t.Helper()
	c, err := client.New(access(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// live is an object as the cluster has it.
func live(t testing.TB, c client.Client, of *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	out := &unstructured.Unstructured{}
	out.SetGroupVersionKind(of.GroupVersionKind())
	if err := c.Get(context.Background(), client.ObjectKeyFromObject(of), out); err != nil {
		t.Fatalf("%s: %v", name(of), err)
	}
	return out
}

func name(o *unstructured.Unstructured) string { return o.GetKind() + " " + o.GetName() }

// parse reads manifests and puts what belongs in a namespace, and names none, into this one, as both tools do.
func parse(t testing.TB, manifests, namespace string) []*unstructured.Unstructured {
	t.Helper()
	objects, err := utils.ReadObjects(strings.NewReader(manifests))
	if err != nil || len(objects) == 0 {
		t.Fatalf("%d objects: %v\n%s", len(objects), err, manifests)
	}
	mapper := newClient(t).RESTMapper()
	for _, o := range objects {
		mapping, err := mapper.RESTMapping(o.GroupVersionKind().GroupKind(), o.GroupVersionKind().Version)
		if err != nil {
			t.Fatalf("%s: %v", name(o), err)
		}
		if mapping.Scope.Name() == "namespace" && o.GetNamespace() == "" {
			o.SetNamespace(namespace)
		}
	}
	return objects
}

// copies are for those who write into what they are given, as both tools do.
func copies(objects []*unstructured.Unstructured) []*unstructured.Unstructured {
	out := make([]*unstructured.Unstructured, len(objects))
	for i, o := range objects {
		out[i] = o.DeepCopy()
	}
	return out
}

// hook is an object that Helm makes when it uninstalls, and nobody else.
func hook(o *unstructured.Unstructured) bool { return o.GetAnnotations()["helm.sh/hook"] != "" }

// set puts labels or annotations on an object.
func set(o *unstructured.Unstructured, marks map[string]string, field string) {
	for key, value := range marks {
		if err := unstructured.SetNestedField(o.Object, value, "metadata", field, key); err != nil {
			panic(err) // it has been parsed as an object
		}
	}
}

// content is an object without what the API server counts and times: equal before and after where nobody changed it.
func content(o *unstructured.Unstructured) string {
	o = o.DeepCopy()
	unstructured.RemoveNestedField(o.Object, "status")
	for _, field := range []string{"resourceVersion", "managedFields"} {
		unstructured.RemoveNestedField(o.Object, "metadata", field)
	}
	text, err := json.MarshalIndent(o.Object, "", " ")
	if err != nil {
		panic(err) // it has come as JSON
	}
	return string(text)
}

// answers waits until every replica of grayscale is ready, and the webhook denies what is wrong.
func answers(t *testing.T) {
	t.Helper()
	harness.WaitReady(t, system, "grayscale")
	wrong := harness.YAML(t, harness.App{Name: "probe", Annotations: map[string]string{"grayscale.dev/strategy": "none"}}.Deployment())
	harness.Eventually(t, "the webhook answers", func() error {
		out, err := harness.TryKubectl(t, wrong, "create", "-n", "default", "--dry-run=server", "-f", "-")
		if err == nil || !strings.Contains(out, "validate.grayscale.dev") || !strings.Contains(out, "denied") {
			return fmt.Errorf("a wrong strategy is not denied: %s", out)
		}
		return nil
	})
}

func indented(text []byte) string {
	var out bytes.Buffer
	if err := json.Indent(&out, text, "", " "); err != nil {
		return string(text)
	}
	return out.String()
}
