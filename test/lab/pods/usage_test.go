package pods

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What a Pod uses is what its requests take, over a full window; its annotation says otherwise.
func TestUsageFollowsRequests(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "1"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{
		Name: "app", Env: []corev1.EnvVar{{Name: "LAB_CPU", Value: "5ms"}}}}}}
	r := &runner{counters: newCounters()}
	began := time.Now()
	counter := r.counters.of(pod)
	counter.meter.since = began
	if _, known := r.usage(pod, began); known {
		t.Error("a use is known before anything was measured")
	}
	for range 100 {
		counter.request(false)
	}
	counter.reset()                                                             // the counters' API has its own life
	for _, after := range []time.Duration{10 * time.Second, 11 * time.Second} { // the second look is within the window
		used, known := r.usage(pod, began.Add(after))
		if cpu := used.Containers[0].Usage.Cpu().MilliValue(); !known || cpu != 50 {
			t.Errorf("after %s: %dm, known %t; want 50m: 10 requests per second of 5 ms each", after, cpu, known)
		}
	}
	pod.Annotations = map[string]string{cpuAnnotation: "300m"}
	if used, _ := r.usage(pod, began); used.Containers[0].Usage.Cpu().MilliValue() != 300 {
		t.Errorf("use %v, want what the annotation says", used.Containers[0].Usage)
	}
}
