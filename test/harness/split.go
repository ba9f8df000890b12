package harness

import (
	"fmt"
	"math"
	"testing"
	"time"
)

const (
	// sample is how many requests a split is judged by. A first glance of fewer requests shows whether to send the rest.
	sample, glance = 400, 100
	// fiveSigma is the chance that a correct split is called wrong, in one direction: the tail of the normal distribution
	// beyond 5 standard deviations.
	fiveSigma = 2.87e-7
)

// AssertShares is AssertSplit for v1 and v2 with these shares in percent; a version with share 0 is left out.
func AssertShares(t testing.TB, address string, v1, v2 float64) {
	t.Helper()
	want := map[string]float64{"v1": v1, "v2": v2}
	for version, share := range want {
		if share == 0 {
			delete(want, version)
		}
	}
	AssertSplit(t, address, want)
}

// AssertSplit fails the test unless Envoy shares the requests to address as percent says ({"v1": 90, "v2": 10}),
// within bounds that a correct split exceeds less than once in a million measurements. A new route may take a moment to
// reach Envoy, and a split between two others may look like the right one at a glance. So samples are taken until one
// fits as a whole; the first glance at each shows whether to send the rest.
func AssertSplit(t testing.TB, address string, percent map[string]float64) {
	t.Helper()
	wrong := measure(t, address, percent)
	for limit := time.Now().Add(Patience); wrong != "" && time.Now().Before(limit); {
		time.Sleep(pollPause)
		wrong = measure(t, address, percent)
	}
	if wrong != "" {
		t.Fatalf("%s is not shared as %v: %s", address, percent, wrong)
	}
}

// measure takes one sample, and describes what chance cannot explain; empty if there is nothing.
func measure(t testing.TB, address string, percent map[string]float64) string {
	t.Helper()
	seen := Counts(t, address, glance)
	if wrong := outside(seen, percent); wrong != "" {
		return wrong
	}
	for version, n := range Counts(t, address, sample-glance) {
		seen[version] += n
	}
	return outside(seen, percent)
}

// AssertOnly fails the test unless Envoy gives every request to address to one version.
func AssertOnly(t testing.TB, address, version string) {
	t.Helper()
	AssertSplit(t, address, map[string]float64{version: 100})
}

// outside describes a version's count that chance cannot explain; empty if there is none.
func outside(seen map[string]int, percent map[string]float64) string {
	n := 0
	for version, count := range seen {
		n += count
		if percent[version] == 0 {
			return fmt.Sprintf("%d answers are from %s", count, version)
		}
	}
	for version, share := range percent {
		if !Plausible(seen[version], n, share/100) {
			return fmt.Sprintf("%d of %d answers are from %s", seen[version], n, version)
		}
	}
	return ""
}

// Plausible reports whether k of n requests are compatible with each of them having chance p: neither tail of the exact
// binomial distribution from k on is rarer than 5 standard deviations of a normal one.
func Plausible(k, n int, p float64) bool {
	switch {
	case p <= 0:
		return k == 0
	case p >= 1:
		return k == n
	}
	return tailUpTo(k, n, p) >= fiveSigma && tailUpTo(n-k, n, 1-p) >= fiveSigma
}

// tailUpTo is the chance of k or fewer of n. Logarithms keep factorials of thousands within a float64.
func tailUpTo(k, n int, p float64) float64 {
	sum := 0.0
	for i := range k + 1 {
		sum += math.Exp(logFactorial(n) - logFactorial(i) - logFactorial(n-i) + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
	}
	return sum
}

func logFactorial(n int) float64 {
	v, _ := math.Lgamma(float64(n) + 1) // the sign is always positive here
	return v
}
