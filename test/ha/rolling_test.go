package ha

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"grayscale.dev/grayscale/test/harness"
)

const (
	// admissionRate is in admission requests per second.
	admissionRate = 200
	// mostAtOnce bounds the concurrent requests: on a machine that cannot answer so many per second, more would only wait
	// longer.
	mostAtOnce = 20
)

// Every replica of grayscale is replaced while failurePolicy is Fail, Deployments are admitted, and a canary gets more.
func TestRollingUpdate(t *testing.T) {
	s := begin(t)
	standing(t)
	failurePolicy(t, "Fail", 10)
	t.Cleanup(func() { failurePolicy(t, "Ignore", 3) })
	asked := ask(t, s.NS)
	old := harness.PodUIDs(t, own, replicas)
	harness.Kubectl(t, "", "rollout", "restart", "-n", own, "deployment/grayscale")
	for percent := 10; percent <= 40; percent += 10 {
		s.weigh(percent)
		s.programmed(percent)
	}
	harness.WaitReady(t, own, "grayscale")
	harness.Eventually(t, "all pods are new ones", func() error {
		for name := range harness.PodUIDs(t, own, replicas) {
			if _, stays := old[name]; stays {
				return fmt.Errorf("pod %s is still there", name)
			}
		}
		return nil
	})
	s.weigh(50)
	s.programmed(50)
	asked.end()
}

// failurePolicy sets the failurePolicy of the two webhooks for annotations, as Helm's --set webhook.failurePolicy does.
func failurePolicy(t *testing.T, policy string, seconds int) {
	t.Helper()
	change := fmt.Sprintf(`[{"op":"replace","path":"/webhooks/0/failurePolicy","value":%q},{"op":"replace","path":"/webhooks/0/timeoutSeconds","value":%d}]`, policy, seconds)
	for _, kind := range []string{"mutatingwebhookconfiguration", "validatingwebhookconfiguration"} {
		harness.Kubectl(t, "", "patch", kind, "grayscale", "--type=json", "-p", change)
	}
	denied(t) // the API server may not have read the change yet
}

// denied waits until a wrong weight is refused by the webhook.
func denied(t *testing.T) {
	t.Helper()
	probe := harness.App{Name: "probe", Annotations: map[string]string{"grayscale.dev/strategy": "canary", "grayscale.dev/weight": "150"}}
	harness.Eventually(t, "a wrong weight is refused", func() error {
		out, err := harness.TryKubectl(t, harness.YAML(t, probe.Deployment()), "create", "-n", "default", "--dry-run=server", "-f", "-")
		if err == nil || !strings.Contains(out, "validate.grayscale.dev") {
			return fmt.Errorf("it is not: %s", out)
		}
		return nil
	})
}

// admissions are dry-run updates at a steady rate, whatever the answers are, up to mostAtOnce.
type admissions struct {
	t     *testing.T
	stop  chan struct{}
	under sync.WaitGroup

	mu     sync.Mutex
	took   []time.Duration
	failed []error
}

func ask(t *testing.T, namespace string) *admissions {
	t.Helper()
	config := harness.Config()
	config.QPS, config.WarningHandler = -1, rest.NoWarnings{}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	a := &admissions{t: t, stop: make(chan struct{})}
	a.under.Go(func() {
		tick := time.NewTicker(time.Second / admissionRate)
		defer tick.Stop()
		room := make(chan struct{}, mostAtOnce)
		for n := 0; ; n++ {
			select {
			case <-a.stop:
				return
			case <-tick.C:
				room <- struct{}{}
				a.under.Go(func() {
					a.once(kube, namespace, n)
					<-room
				})
			}
		}
	})
	return a
}

// once sends a weight for admission; every tenth is a wrong one, which only the webhook refuses.
func (a *admissions) once(kube kubernetes.Interface, namespace string, n int) {
	percent, wrong := n%100, n%10 == 0
	if wrong {
		percent += 101
	}
	change := fmt.Sprintf(`{"metadata":{"annotations":{"grayscale.dev/weight":"%d"}}}`, percent)
	begun := time.Now()
	_, err := kube.AppsV1().Deployments(namespace).Patch(ctx, "web-v2", types.MergePatchType, []byte(change),
		metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
	took := time.Since(begun)
	if wrong {
		switch {
		case err == nil:
			err = errors.New("a wrong weight is admitted")
		case strings.Contains(err.Error(), `admission webhook "validate.grayscale.dev" denied`):
			err = nil
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.took = append(a.took, took)
	if err != nil {
		a.failed = append(a.failed, fmt.Errorf("at %s, after %s: %w", begun.Format(time.TimeOnly), took, err))
	}
}

// end fails the test if one admission failed, or hardly any was asked for.
func (a *admissions) end() {
	a.t.Helper()
	close(a.stop)
	a.under.Wait()
	if len(a.failed) > 0 {
		a.t.Errorf("%d of %d admissions failed, the first: %v", len(a.failed), len(a.took), a.failed[:min(3, len(a.failed))])
	}
	if len(a.took) < admissionRate {
		a.t.Errorf("only %d admissions were asked for", len(a.took))
		return
	}
	slices.Sort(a.took)
	a.t.Logf("%d admissions, %d failed; half took up to %s, 99 %% up to %s, the slowest %s", len(a.took), len(a.failed),
		a.took[len(a.took)/2], a.took[len(a.took)*99/100], a.took[len(a.took)-1])
}
