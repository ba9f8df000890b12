package pods

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	metrics "k8s.io/metrics/pkg/apis/metrics/v1beta1"
)

// The metrics API (metrics.k8s.io) of the lab: what metrics-server is in a cluster. It costs nothing until somebody
// asks.
const (
	// cpuAnnotation on a Pod is the CPU that it uses, "250m", whatever it is asked.
	cpuAnnotation = "lab.grayscale.dev/cpu"
	// usageWindow is the least time over which use is measured: long enough for a steady number at 60 requests per second.
	usageWindow = 3 * time.Second
	metricsPath = "/apis/metrics.k8s.io/v1beta1"
)

// meter turns a count of requests into their rate.
type meter struct {
	total  int64 // of requests and connections, copies included; no reset takes any away
	since  time.Time
	before int64 // total at since
	rate   float64
	window time.Duration
}

// read is the rate per second over the last full window.
func (m *meter) read(now time.Time) (perSecond float64, window time.Duration) {
	if passed := now.Sub(m.since); passed >= usageWindow {
		m.rate, m.window = float64(m.total-m.before)/passed.Seconds(), passed
		m.since, m.before = now, m.total
	}
	return m.rate, m.window
}

// usage is what the Pod uses of CPU; unknown until it has run for a window.
func (r *runner) usage(pod *corev1.Pod, now time.Time) (*metrics.PodMetrics, bool) {
	perSecond, window := r.counters.of(pod).rate(now)
	cpu, err := resource.ParseQuantity(pod.Annotations[cpuAnnotation])
	if err != nil { // without the annotation
		if window == 0 {
			return nil, false
		}
		cpu = *resource.NewMilliQuantity(int64(perSecond*cpuPerRequest(pod).Seconds()*1000), resource.DecimalSI)
	}
	return &metrics.PodMetrics{
		ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace, Labels: pod.Labels, CreationTimestamp: metav1.NewTime(now)},
		Timestamp:  metav1.NewTime(now), Window: metav1.Duration{Duration: max(window, usageWindow)},
		Containers: []metrics.ContainerMetrics{{Name: pod.Spec.Containers[0].Name, Usage: corev1.ResourceList{
			corev1.ResourceCPU: cpu, corev1.ResourceMemory: resource.MustParse("16Mi"),
		}}},
	}, true
}

// cpuPerRequest is what the first container's LAB_CPU says.
func cpuPerRequest(pod *corev1.Pod) time.Duration {
	for _, v := range pod.Spec.Containers[0].Env {
		if v.Name == "LAB_CPU" {
			d, _ := time.ParseDuration(v.Value) // a container with another value is never started
			return d
		}
	}
	return 0
}

// metricsAPI serves the Pods of metrics.k8s.io to the API server, which aggregates it.
func (r *runner) metricsAPI() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+metricsPath, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, metav1.APIResourceList{
			TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: metrics.SchemeGroupVersion.String(),
			APIResources: []metav1.APIResource{{Name: "pods", Namespaced: true, Kind: "PodMetrics", Verbs: metav1.Verbs{"list"}}},
		})
	})
	list := func(w http.ResponseWriter, request *http.Request) {
		selector, err := labels.Parse(request.URL.Query().Get("labelSelector"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		pods, err := r.pods.Pods(request.PathValue("namespace")).List(selector)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		out := metrics.PodMetricsList{TypeMeta: metav1.TypeMeta{Kind: "PodMetricsList", APIVersion: metrics.SchemeGroupVersion.String()}}
		for _, pod := range pods {
			if pod.Status.Phase != corev1.PodRunning {
				continue
			}
			if one, known := r.usage(pod, time.Now()); known {
				out.Items = append(out.Items, *one)
			}
		}
		answer(w, out)
	}
	mux.HandleFunc("GET "+metricsPath+"/pods", list)
	mux.HandleFunc("GET "+metricsPath+"/namespaces/{namespace}/pods", list)
	return mux
}

func answer(w http.ResponseWriter, object any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(object); err != nil { // the asker has gone
		slog.Debug("metrics API", "error", err)
	}
}
