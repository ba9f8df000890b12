package scale

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/test/harness"
)

const (
	// look is how often grayscale's metrics are read while it is at work.
	look = 100 * time.Millisecond
	// limit is how long the largest size may take to settle.
	limit = 30 * time.Minute
)

// process is grayscale outside the cluster, as one replica that leads.
type process struct {
	b       *testing.B
	cmd     *exec.Cmd
	replica harness.Replica
	started time.Time
}

func start(b *testing.B, binary string) *process {
	b.Helper()
	metrics := port(b)
	p := &process{b: b, replica: harness.Replica{Metrics: fmt.Sprintf("http://127.0.0.1:%s/metrics", metrics)}}
	p.cmd = exec.Command(binary, "--kubeconfig", harness.Lab().Kubeconfig, "--namespace", "grayscale-system",
		"--leader-elect", "--bind-address", "127.0.0.1", "--webhook-port", port(b), "--health-port", port(b), "--metrics-port", metrics)
	log, err := os.Create(filepath.Join(harness.Lab().Dir, "logs", "scale.log"))
	if err != nil {
		b.Fatal(err)
	}
	p.cmd.Stderr, p.cmd.Stdout = log, io.Discard
	p.started = time.Now()
	if err := p.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(p.stop)
	return p
}

func port(b *testing.B) string {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		b.Fatal(err)
	}
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}

// stop ends the process in good order, which gives the lease back.
func (p *process) stop() {
	if p.cmd.ProcessState != nil {
		return
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.b.Error(err)
	}
	if err := p.cmd.Wait(); err != nil {
		p.b.Errorf("grayscale ended with %v", err)
	}
}

func (p *process) metric(name string, holding ...string) float64 {
	p.b.Helper()
	value, err := p.replica.Metric(name, holding...)
	if err != nil {
		p.b.Fatal(err)
	}
	return value
}

// decided waits until every release has been decided upon, and nothing is left to do.
func (p *process) decided(releases int) {
	p.b.Helper()
	p.until("every release is decided upon", func() bool {
		done, err := p.replica.Metric("controller_runtime_reconcile_total", `controller="annotator"`)
		return err == nil && done >= float64(releases) && p.idle()
	})
}

// converged waits until every candidate is programmed.
func (p *process) converged(releases int) {
	p.b.Helper()
	p.until("every release is programmed", func() bool {
		programmed, err := p.replica.Metric("grayscale_releases", `state="programmed"`)
		return err == nil && programmed >= float64(releases) && p.idle()
	})
}

// coldStart is what a start took with everything programmed.
type coldStart struct{ took, cpu, memory float64 } // s, s and MiB

// cold waits until every release has been decided upon.
func (p *process) cold(releases int) coldStart {
	p.b.Helper()
	p.decided(releases)
	return coldStart{time.Since(p.started).Seconds(), p.metric("process_cpu_seconds_total"),
		p.metric("process_resident_memory_bytes") / (1 << 20)}
}

func (p *process) idle() bool {
	waiting, err := p.replica.Metric("workqueue_depth", `name="annotator"`)
	working, failed := p.replica.Metric("controller_runtime_active_workers", `controller="annotator"`)
	return err == nil && failed == nil && waiting == 0 && working == 0
}

func (p *process) until(what string, done func() bool) {
	p.b.Helper()
	for begin := time.Now(); !done(); time.Sleep(look) {
		if time.Since(begin) > limit {
			p.b.Fatalf("not after %s: %s", limit, what)
		}
	}
}

// changed counts the weights that were changed, so that none is set to what it is.
var changed int

// latency changes weights all over the cluster, one at a time, and gives p50 and p99 from the request to the watch
// event of the VirtualService, in ms.
func latency(b *testing.B, releases int) (median, slowly float64) {
	b.Helper()
	ctx, client := context.Background(), kube(b)
	watch, err := harness.Istio().NetworkingV1().VirtualServices("").Watch(ctx, metav1.ListOptions{ResourceVersion: "0", SendInitialEvents: new(bool),
		ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan})
	if err != nil {
		b.Fatal(err)
	}
	defer watch.Stop()
	var took []float64
	for i := range changes {
		r := release(i * releases / changes) // at a size smaller than that some more than once
		begin := time.Now()
		changed++
		change := fmt.Sprintf(`{"metadata":{"annotations":{%q:"%.2f"}}}`, intent.KeyWeight, 20+float64(changed)/100)
		if _, err := client.AppsV1().Deployments(r.namespace()).Patch(ctx, r.service()+"-v2", types.MergePatchType, []byte(change), metav1.PatchOptions{}); err != nil {
			b.Fatal(err)
		}
		for seen := false; !seen; {
			select {
			case e := <-watch.ResultChan():
				vs, ok := e.Object.(*networkingv1.VirtualService)
				if ok && vs.Namespace == r.namespace() && vs.Name == r.service()+"-grayscale" {
					is := harness.Weights(vs)
					seen = is["v2"] > 0 && int(is["v2"])*10000 == (2000+changed)*int(is["v1"]+is["v2"])
				}
			case <-time.After(harness.Patience):
				b.Fatalf("no VirtualService was written for %s/%s", r.namespace(), r.service())
			}
		}
		took = append(took, float64(time.Since(begin).Microseconds())/1000)
	}
	slices.Sort(took)
	return took[len(took)/2], took[len(took)*99/100]
}
