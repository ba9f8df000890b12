// Package bench measures, on the lab, how long users wait: from an annotation to the VirtualService and to Envoy. Run
// it with make bench; ms/op is the mean, p50-ms and p99-ms are over the b.N changes.
//
// What the machine itself takes is measured in turns with that, as the floor: the same writes by a bare client, for
// objects of the same size that are none of grayscale's. floor-p50-ms is the floor, ratio is the median over the
// floor's median.
package bench

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/test/harness"
)

// debounceVariable holds istiod's debounce for this run, such as 100ms.
const debounceVariable = "GRAYSCALE_BENCH_DEBOUNCE"

// debounce is istiod's in this run.
var debounce time.Duration

func TestMain(m *testing.M) {
	var err error
	debounce, err = time.ParseDuration(os.Getenv(debounceVariable))
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v: set it to istiod's debounce, such as 100ms\n", debounceVariable, err)
		os.Exit(1)
	}
	os.Exit(harness.Main(m, harness.Options{Grayscale: true, Debounce: debounce}))
}

// release is a canary that is programmed at 0 %.
type release struct{ ns, url string }

func newRelease(b *testing.B) release {
	b.Helper()
	r := release{ns: harness.Namespace(b)}
	r.url = harness.URL(r.ns, "web", 80)
	stable := harness.App{Name: "web-v1", Label: "web", Replicas: 2}
	candidate := harness.App{
		Name: "web-v2", Label: "web", Replicas: 2,
		Annotations: map[string]string{intent.KeyStrategy: string(intent.Canary), intent.KeyWeight: "0"},
	}
	harness.Kubectl(b, harness.YAML(b, harness.Service("web"), stable.Deployment()), "apply", "-n", r.ns, "-f", "-")
	harness.WaitReady(b, r.ns, "web-v1")
	harness.WaitServed(b, r.url)
	harness.Kubectl(b, harness.YAML(b, candidate.Deployment()), "apply", "-n", r.ns, "-f", "-")
	harness.WaitProgrammed(b, r.ns, "web-v2", "canary 0% of web")
	return r
}

// settled waits until nothing is written any more because of the last change.
func (r release) settled(b *testing.B, percent int) {
	b.Helper()
	r.programmed(b, percent)
	time.Sleep(aftermath)
}

// aftermath is more than what follows the change of a Deployment takes on a slow machine: an Event of ours, and for 40
// ms what the Deployment controller copies to ReplicaSets and writes into statuses. A change amid that conflicts with
// it, and nobody annotates a Deployment thirty times a second.
const aftermath = 200 * time.Millisecond

// weight is what kubectl annotate sends.
func (r release) weight(b *testing.B, percent int) {
	b.Helper()
	r.patch(b, "web-v2", fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, intent.KeyWeight, strconv.Itoa(percent)))
}

func (r release) patch(b *testing.B, name, change string) {
	b.Helper()
	_, err := harness.Kube().AppsV1().Deployments(r.ns).Patch(context.Background(), name, types.MergePatchType, []byte(change), metav1.PatchOptions{})
	if err != nil {
		b.Fatal(err)
	}
}

// answered waits until Envoy gives so many requests in a row to the version. Requests follow each other at once: one
// takes about 1 ms.
func answered(b *testing.B, url, version string, row int) {
	b.Helper()
	for seen, limit := 0, time.Now().Add(harness.Patience); seen < row; {
		a, err := harness.Ask(url)
		if err != nil {
			b.Fatal(err)
		}
		if seen++; a.Version != version {
			seen = 0
		}
		if time.Now().After(limit) {
			b.Fatalf("%s does not answer as %s", url, version)
		}
	}
}

func (r release) programmed(b *testing.B, percent int) {
	b.Helper()
	harness.WaitCondition(b, r.ns, "web-v2", intent.ConditionProgrammed, "True", fmt.Sprintf("canary %d%% of web", percent))
}

// watchRoutes watches a VirtualService; written waits until it gives the candidate that many percent.
func watchRoutes(b *testing.B, ns, name string) (written func(percent int)) {
	b.Helper()
	watch, err := harness.Istio().NetworkingV1().VirtualServices(ns).Watch(b.Context(), metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, name).String(),
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(watch.Stop)
	return func(percent int) {
		b.Helper()
		for limit := time.After(harness.Patience); ; {
			select {
			case e := <-watch.ResultChan():
				if vs, ok := e.Object.(*networkingv1.VirtualService); ok && int(harness.Weights(vs)["v2"]) == percent {
					return
				}
			case <-limit:
				b.Fatalf("no VirtualService with %d %% was written", percent)
			}
		}
	}
}

// BenchmarkAnnotateToVirtualService: from the request that annotates to the watch event of the derived VirtualService.
// The floor sends the same two writes one after the other.
func BenchmarkAnnotateToVirtualService(b *testing.B) {
	r := newRelease(b)
	f := newFloor(b, r)
	written, floorWritten := watchRoutes(b, r.ns, "web-grayscale"), watchRoutes(b, r.ns, floorRoutes)
	percent := 0
	change := func() {
		percent = percent%99 + 1
		r.weight(b, percent)
		written(percent)
	}
	change() // the first one waits until the candidate's endpoints have settled
	r.settled(b, percent)
	var floor []time.Duration
	took := measure(b, change, func() {
		r.settled(b, percent)
		floor = append(floor, timed(func() {
			f.annotate(b, percent)
			f.route(b, percent)
			floorWritten(percent)
		}))
		time.Sleep(aftermath)
	})
	slices.Sort(floor)
	b.ReportMetric(milliseconds(floor, 0.5), "floor-p50-ms")
	b.ReportMetric(milliseconds(took, 0.5)/milliseconds(floor, 0.5), "ratio")
}

// BenchmarkAnnotateToEnvoy: from the request that annotates with 100 to the first answer of the candidate. The floor is
// a push of its own: from a bare client's write of the VirtualService to the first answer. Both wait for istiod's
// debounce, so the ratio is of what is left without it. Nobody asks Envoy before the VirtualService is written: the
// answer is known till then, and asking takes the processors from those who write.
func BenchmarkAnnotateToEnvoy(b *testing.B) {
	r := newRelease(b)
	f := newFloor(b, r)
	written, floorWritten := watchRoutes(b, r.ns, "web-grayscale"), watchRoutes(b, r.ns, floorRoutes)
	there := func() {
		r.weight(b, 100)
		written(100)
		answered(b, r.url, "v2", 1)
	}
	var floor []time.Duration
	back := func() {
		r.weight(b, 0)
		written(0)
		answered(b, r.url, "v1", 1)
		r.settled(b, 0)
		floor = append(floor, timed(func() {
			f.route(b, 100)
			floorWritten(100)
			answered(b, f.url, "v2", 1)
		}))
		f.route(b, 0)
		answered(b, f.url, "v1", 1)
		time.Sleep(aftermath)
	}
	there() // the first time waits until the candidate's endpoints have settled
	back()
	floor = nil
	took := measure(b, there, back)
	slices.Sort(floor)
	pause := float64(debounce.Milliseconds())
	b.ReportMetric(milliseconds(floor, 0.5), "floor-p50-ms")
	b.ReportMetric((milliseconds(took, 0.5)-pause)/(milliseconds(floor, 0.5)-pause), "ratio")
}

// BenchmarkAbortToEnvoy: from the request that removes the strategy of a canary at 99 % to the first of three answers
// in a row of stable, which a canary at 99 % would give once in a million times.
func BenchmarkAbortToEnvoy(b *testing.B) {
	r := newRelease(b)
	on := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q,%q:"99"}}}`, intent.KeyStrategy, intent.Canary, intent.KeyWeight)
	off := fmt.Sprintf(`{"metadata":{"annotations":{%q:null,%q:null}}}`, intent.KeyStrategy, intent.KeyWeight)
	start := func() {
		r.patch(b, "web-v2", on)
		r.programmed(b, 99)
		answered(b, r.url, "v2", 1)
	}
	start()
	measure(b, func() {
		r.patch(b, "web-v2", off)
		answered(b, r.url, "v1", 3)
	}, start)
}

// BenchmarkAdoption: from kubectl apply of the first candidate to the routes that pin a running Deployment of three
// pods to stable; replaced/op is how many of them were restarted or replaced.
func BenchmarkAdoption(b *testing.B) {
	replaced := 0
	var ns string
	var before map[string]string
	begin := func() {
		ns = harness.Namespace(b)
		harness.Kubectl(b, harness.YAML(b, harness.Service("web"), harness.App{Name: "web-v1", Label: "web", Replicas: 3}.Deployment()), "apply", "-n", ns, "-f", "-")
		harness.WaitReady(b, ns, "web-v1")
		before = harness.PodUIDs(b, ns, "app=web")
	}
	begin()
	measure(b, func() {
		candidate := harness.App{Name: "web-v2", Label: "web", Annotations: map[string]string{intent.KeyStrategy: string(intent.Canary)}}
		if _, err := harness.Kube().AppsV1().Deployments(ns).Create(b.Context(), candidate.Deployment(), metav1.CreateOptions{}); err != nil {
			b.Fatal(err)
		}
		harness.Eventually(b, "the VirtualService is written", func() error {
			_, err := harness.Istio().NetworkingV1().VirtualServices(ns).Get(b.Context(), "web-grayscale", metav1.GetOptions{})
			return err
		})
	}, func() {
		after := harness.PodUIDs(b, ns, "app=web,release=web-v1")
		for name, uid := range before {
			if after[name] != uid {
				replaced++
			}
		}
		begin()
	})
	b.ReportMetric(float64(replaced)/float64(b.N), "replaced/op")
}

// measure times change b.N times, with restore between two of them, and reports the percentiles. It returns the times,
// sorted.
func measure(b *testing.B, change, restore func()) []time.Duration {
	b.Helper()
	took := make([]time.Duration, 0, b.N)
	sum := time.Duration(0)
	for range b.N {
		took = append(took, timed(change))
		sum += took[len(took)-1]
		restore()
	}
	slices.Sort(took)
	b.ReportMetric(0, "ns/op") // the restoring in between is not what is measured
	b.ReportMetric(float64(sum.Microseconds())/1000/float64(len(took)), "ms/op")
	b.ReportMetric(milliseconds(took, 0.5), "p50-ms")
	b.ReportMetric(milliseconds(took, 0.99), "p99-ms")
	return took
}

func timed(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

// milliseconds is the time within which that share of the sorted ones lie.
func milliseconds(sorted []time.Duration, share float64) float64 {
	return float64(sorted[int(share*float64(len(sorted)-1))].Microseconds()) / 1000
}
