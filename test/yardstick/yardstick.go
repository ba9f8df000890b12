// Package yardstick relates what a piece of code takes to what the machine takes to decode a Deployment, so that
// figures of different machines, and of a busy and an idle one, can be compared.
package yardstick

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

const (
	// size is how large a user's Deployment is, in bytes of JSON: containers with environments make it so.
	size = 10 << 10
	// rounds is how often both are measured, one after the other.
	rounds = 1000
)

// Grow adds containers to a Deployment until it is as large as users make theirs, about 10 KB of JSON.
func Grow(tb testing.TB, d appsv1.Deployment) appsv1.Deployment {
	tb.Helper()
	for c := 0; len(encode(tb, d)) < size; c++ {
		container := corev1.Container{Name: fmt.Sprintf("sidecar-%d", c), Image: fmt.Sprintf("registry.example/team/sidecar-%d:1.2.3", c)}
		for e := range 12 {
			container.Env = append(container.Env,
				corev1.EnvVar{Name: fmt.Sprintf("SETTING_%d", e), Value: "some value of a setting, as they are"})
		}
		container.Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: 8080, Protocol: corev1.ProtocolTCP}}
		d.Spec.Template.Spec.Containers = append(d.Spec.Template.Spec.Containers, container)
	}
	return d
}

// Compare benchmarks op, and reports as "decodes" how many times op takes as long as encoding/json takes to decode such
// a Deployment: the median of the one over that of the other, measured in turns.
func Compare(b *testing.B, op func()) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		op()
	}
	raw := encode(b, Grow(b, appsv1.Deployment{}))
	var ops, decodes []time.Duration
	for range rounds {
		ops = append(ops, timed(op))
		decodes = append(decodes, timed(func() {
			if err := json.Unmarshal(raw, &appsv1.Deployment{}); err != nil {
				b.Fatal(err)
			}
		}))
	}
	b.ReportMetric(float64(Median(ops))/float64(Median(decodes)), "decodes")
}

// Median is the middle one of the times.
func Median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

func timed(op func()) time.Duration {
	begin := time.Now()
	op()
	return time.Since(begin)
}

func encode(tb testing.TB, d appsv1.Deployment) []byte {
	tb.Helper()
	raw, err := json.Marshal(d)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}
