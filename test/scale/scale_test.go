// Package scale measures what grayscale costs with many releases, on the lab's API server. Run it with make
// bench-scale.
//
// The releases are canaries at 10 %, two Deployments and a Service each, with one pod for each Deployment that nobody
// runs. Sizes count annotated Deployments. Of each release both are annotated: the candidate by its owner, the stable
// version by grayscale. So there are half as many candidates, and the figures name both counts. The controllers and
// istiod stand still meanwhile: what is measured is grayscale's own. The webhook is not installed.
package scale

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"grayscale.dev/grayscale/test/harness"
)

const (
	// sizesVariable holds the numbers of annotated Deployments, ascending, such as 100,1000.
	sizesVariable = "GRAYSCALE_SCALE"
	// besideVariable holds the path of another build of grayscale, which is measured side by side with this one.
	besideVariable = "GRAYSCALE_SCALE_BESIDE"
)

const (
	// rest is for how long grayscale is watched while nothing happens.
	rest = time.Minute
	// changes is how many weights are changed at each size.
	changes = 100
	// turns is how often each of two builds is started, where they are compared.
	turns = 3
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m, harness.Options{})) }

// figures are what was measured at one size.
type figures struct {
	deployments    int     // annotated ones
	candidates     int     // those of them that their owners annotated
	settled        float64 // s from the start, with nothing programmed yet, to the last release that is
	requests       float64 // for each release, on that way
	cold, list     float64 // s from the start to converged, with everything programmed; for one client to list the same
	work           float64 // s of CPU from the start to converged: what is left of cold where others use the machine
	memory         float64 // MiB, resident
	hourly, cpu    float64 // requests, and s of CPU, per hour while nothing happens
	median, slowly float64 // ms from annotation to VirtualService: p50 and p99
}

// BenchmarkScale goes from size to size with the same API server, so that each keeps the releases of those before.
func BenchmarkScale(b *testing.B) {
	freezeOthers(b)
	namespace(b, kube(b), "grayscale-system")
	var all []figures
	for _, size := range sizes(b) {
		measured := b.Run(strconv.Itoa(size), func(b *testing.B) {
			f := measure(b, size)
			all = append(all, f)
			f.report(b)
		})
		if !measured {
			return
		}
	}
	if len(all) > 1 {
		growth(b, all[0], all[len(all)-1])
	}
}

func sizes(b *testing.B) []int {
	b.Helper()
	var out []int
	for text := range strings.SplitSeq(cmp.Or(os.Getenv(sizesVariable), "100,1000,10000"), ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			b.Fatalf("%s: %v", sizesVariable, err)
		}
		out = append(out, n)
	}
	return out
}

// freezeOthers stops what would start pods, and what would push routes that nobody uses.
func freezeOthers(b *testing.B) {
	b.Helper()
	for _, component := range []string{"kube-controller-manager", "istiod"} {
		harness.Freeze(b, harness.ComponentPID(b, component))
	}
}

func measure(b *testing.B, size int) figures {
	b.Helper()
	releases := size / 2
	f := figures{deployments: size, candidates: releases}
	added := fill(b, releases)

	g := start(b, harness.Product())
	g.converged(releases)
	f.settled, f.requests = time.Since(g.started).Seconds(), g.metric("rest_client_requests_total")/float64(added)
	g.stop()

	f.list = list(b).Seconds()
	g = start(b, harness.Product())
	one := g.cold(releases)
	f.cold, f.work = one.took, one.cpu

	requests, cpu, since := g.metric("rest_client_requests_total"), g.metric("process_cpu_seconds_total"), time.Now()
	time.Sleep(rest)
	hours := time.Since(since).Hours()
	f.hourly = (g.metric("rest_client_requests_total") - requests) / hours
	f.cpu = (g.metric("process_cpu_seconds_total") - cpu) / hours
	f.memory = g.metric("process_resident_memory_bytes") / (1 << 20)

	f.median, f.slowly = latency(b, releases)
	g.stop()
	if beside := os.Getenv(besideVariable); beside != "" {
		compare(b, beside, releases)
	}
	return f
}

// compare starts grayscale and another build of it in turns, and reports what each took: medians.
func compare(b *testing.B, beside string, releases int) {
	b.Helper()
	took := map[string][]coldStart{}
	for range turns {
		for name, binary := range map[string]string{"this": harness.Product(), "beside": beside} {
			g := start(b, binary)
			took[name] = append(took[name], g.cold(releases))
			g.stop()
		}
	}
	for name, list := range took {
		for unit, of := range map[string]func(coldStart) float64{
			"cold-s":     func(c coldStart) float64 { return c.took },
			"cold-cpu-s": func(c coldStart) float64 { return c.cpu },
			"rss-MiB":    func(c coldStart) float64 { return c.memory },
		} {
			slices.SortFunc(list, func(a, b coldStart) int { return cmp.Compare(of(a), of(b)) })
			b.ReportMetric(of(list[len(list)/2]), name+"-"+unit)
		}
	}
}

func (f figures) report(b *testing.B) {
	b.ReportMetric(0, "ns/op")
	for unit, value := range map[string]float64{
		"annotated": float64(f.deployments), "candidates": float64(f.candidates),
		"settled-s": f.settled, "requests/release": f.requests, "cold-s": f.cold, "cold-cpu-s": f.work, "list-s": f.list,
		"rss-MiB":       f.memory,
		"requests/hour": f.hourly, "cpu-s/hour": f.cpu, "p50-ms": f.median, "p99-ms": f.slowly,
	} {
		b.ReportMetric(value, unit)
	}
}

// growth tells with which power of the number of annotated Deployments each figure grows: 0 is not at all, 1 is in
// proportion.
func growth(b *testing.B, small, large figures) {
	b.Helper()
	ratio := math.Log(float64(large.deployments) / float64(small.deployments))
	power := func(of func(figures) float64) float64 { return math.Log(of(large)/of(small)) / ratio }
	fmt.Printf("growth from %d to %d annotated Deployments: cold start n^%.2f, memory n^%.2f, requests per hour n^%.2f, annotation to VirtualService n^%.2f (p50)\n",
		small.deployments, large.deployments,
		power(func(f figures) float64 { return f.cold }), power(func(f figures) float64 { return f.memory }),
		power(func(f figures) float64 { return f.hourly }), power(func(f figures) float64 { return f.median }))
}
