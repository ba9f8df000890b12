package rights

import (
	"context"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/test/harness"
)

const own = "grayscale-system"

var ctx = context.Background()

// shop is a namespace with Service web and web-v1 behind it.
type shop struct {
	t  *testing.T
	ns string
}

// live goes through everything that grayscale does; other tests check how well it does it.
func live(t *testing.T) {
	t.Helper()
	s := shop{t, harness.Namespace(t)}
	s.kubectl(harness.YAML(t, harness.Service("web"), harness.App{Name: "web-v1", Label: "web"}.Deployment()), "apply", "-f", "-")
	harness.WaitReady(t, s.ns, "web-v1")
	harness.InstallGatewayAPI(t)
	s.released()
	s.putBack()
	s.ended()
	stateLost(t)
	retired(t)
}

// released: web-v1 is adopted, web-v2 held, pinned and given weights; web-v3 makes the DestinationRule grow.
func (s shop) released() {
	s.t.Helper()
	s.candidate("web-v2", 10)
	s.programmed("web-v2", 10)
	s.annotate("web-v2", "weight=50")
	s.programmed("web-v2", 50)
	s.candidate("web-v3", 5)
	s.programmed("web-v3", 5)
}

// putBack: somebody edits the routes twice. The second Event about the same edit continues the first one's series.
func (s shop) putBack() {
	s.t.Helper()
	routes := harness.Istio().NetworkingV1().VirtualServices(s.ns)
	for range 2 {
		before, err := routes.Get(ctx, "web-grayscale", metav1.GetOptions{})
		if err != nil {
			s.t.Fatal(err)
		}
		s.kubectl("", "patch", "virtualservice", "web-grayscale", "--type=merge", "-p", `{"spec":{"hosts":["elsewhere.example"]}}`)
		harness.Eventually(s.t, "the routes are put back", func() error {
			now, err := routes.Get(ctx, "web-grayscale", metav1.GetOptions{})
			if err == nil && now.Spec.Hosts[0] != before.Spec.Hosts[0] {
				err = fmt.Errorf("they are for %v", now.Spec.Hosts)
			}
			return err
		})
	}
}

// ended: the webhook moves web-v3's traffic before its pods end; web-v2 takes over, web-v1 is deleted, and with it the
// routes.
func (s shop) ended() {
	s.t.Helper()
	s.kubectl("", "scale", "deploy/web-v3", "--replicas=0")
	s.kubectl("", "delete", "deploy/web-v3")
	s.annotate("web-v2", "weight=100")
	s.programmed("web-v2", 100)
	s.annotate("web-v2", "strategy-", "weight-")
	s.kubectl("", "delete", "deploy/web-v1")
	harness.Eventually(s.t, "the routes are gone", func() error {
		routes, err := harness.Istio().NetworkingV1().VirtualServices(s.ns).List(ctx, metav1.ListOptions{})
		rules, failed := harness.Istio().NetworkingV1().DestinationRules(s.ns).List(ctx, metav1.ListOptions{})
		if err != nil || failed != nil {
			return fmt.Errorf("%w, %w", err, failed)
		}
		if n := len(routes.Items) + len(rules.Items); n > 0 {
			return fmt.Errorf("%d are left", n)
		}
		return nil
	})
}

// stateLost: somebody deletes the Lease and the Secret in grayscale's namespace, and its replicas are replaced. Both
// are created again. The new replicas fill their caches as from an older API server, which cannot stream lists.
func stateLost(t *testing.T) {
	t.Helper()
	harness.Kubectl(t, "", "delete", "-n", own, "lease/grayscale", "secret/grayscale-webhook-certificate")
	harness.Kubectl(t, "", "set", "env", "-n", own, "deployment/grayscale", "KUBE_FEATURE_WatchListClient=false")
	harness.Eventually(t, "Lease and Secret are created again", func() error {
		_, err := harness.TryKubectl(t, "", "get", "-n", own, "lease/grayscale", "secret/grayscale-webhook-certificate")
		return err
	})
	harness.WaitReady(t, own, "grayscale")
	harness.Leader(t)
}

// retired: grayscale is uninstalled while it holds a candidate.
func retired(t *testing.T) {
	t.Helper()
	s := shop{t, harness.Namespace(t)}
	s.kubectl(harness.YAML(t, harness.Service("web")), "apply", "-f", "-")
	s.candidate("web-v2", 10)
	harness.WaitCondition(t, s.ns, "web-v2", "grayscale.dev/Accepted", "False", "stable")
	harness.Kubectl(t, "", "create", "configmap", "grayscale-retire", "-n", own)
	harness.WaitReady(t, s.ns, "web-v2") // a held one never becomes ready
}

func (s shop) kubectl(stdin string, args ...string) {
	s.t.Helper()
	harness.Kubectl(s.t, stdin, append([]string{"-n", s.ns}, args...)...)
}

func (s shop) candidate(name string, weight int) {
	s.t.Helper()
	app := harness.App{Name: name, Label: "web", Annotations: map[string]string{
		"grayscale.dev/strategy": "canary", "grayscale.dev/weight": fmt.Sprint(weight)}}
	s.kubectl(harness.YAML(s.t, app.Deployment()), "apply", "-f", "-")
}

func (s shop) annotate(name string, changes ...string) {
	s.t.Helper()
	args := []string{"annotate", "--overwrite", "deploy/" + name}
	for _, c := range changes {
		args = append(args, "grayscale.dev/"+c)
	}
	s.kubectl("", args...)
}

func (s shop) programmed(name string, weight int) {
	s.t.Helper()
	harness.WaitProgrammed(s.t, s.ns, name, fmt.Sprintf("canary %d%% of web", weight))
}
