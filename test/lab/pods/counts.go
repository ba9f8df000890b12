package pods

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Counts is the body of GET /counts: everything that the lab's echo Pods received since the start or the last POST
// /reset.
type Counts struct {
	Pods []PodCounts `json:"pods"` // by namespace, then name; deleted Pods stay until the next reset
}

// PodCounts is what one echo Pod received.
type PodCounts struct {
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	// Version is the Pod's label `version`, as it is now; empty without that label.
	Version string `json:"version"`
	// Deployment owns the Pod by way of a ReplicaSet; empty for other Pods.
	Deployment string            `json:"deployment,omitempty"`
	Labels     map[string]string `json:"labels"`
	// Requests counts HTTP requests on arrival, mirrored ones left out.
	Requests int64 `json:"requests"`
	// Mirrored counts HTTP requests that Envoy copied here: it marks their host with the suffix `-shadow`.
	Mirrored int64 `json:"mirrored"`
	// Connections counts connections accepted on TCP ports.
	Connections int64 `json:"connections"`
	// Codes counts the answered requests, mirrored ones left out, by HTTP status.
	Codes map[int]int64 `json:"codes"`
}

// counter counts for one Pod; safe for concurrent use.
type counter struct {
	mu     sync.Mutex
	pod    *corev1.Pod
	counts PodCounts
	meter  meter
}

func (c *counter) request(mirrored bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.meter.total++
	if mirrored {
		c.counts.Mirrored++
		return
	}
	c.counts.Requests++
}

func (c *counter) answered(code int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts.Codes == nil {
		c.counts.Codes = map[int]int64{}
	}
	c.counts.Codes[code]++
}

func (c *counter) connection() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.meter.total++
	c.counts.Connections++
}

// rate is how many requests the Pod got per second lately, and over which time; 0 until that is known.
func (c *counter) rate(now time.Time) (perSecond float64, window time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.meter.read(now)
}

// follow makes pod the object whose name and labels describe the counts.
func (c *counter) follow(pod *corev1.Pod) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pod = pod
}

func (c *counter) snapshot() PodCounts {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.counts
	out.Codes = make(map[int]int64, len(c.counts.Codes))
	for code, n := range c.counts.Codes {
		out.Codes[code] = n
	}
	out.Namespace, out.Pod, out.Labels = c.pod.Namespace, c.pod.Name, c.pod.Labels
	out.Version, out.Deployment = c.pod.Labels["version"], deploymentOf(c.pod)
	return out
}

func (c *counter) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts = PodCounts{}
}

// deploymentOf names the Deployment of a Pod from its ReplicaSet's name, which ends in the Pod's template hash.
func deploymentOf(pod *corev1.Pod) string {
	hash := pod.Labels["pod-template-hash"]
	for _, owner := range pod.OwnerReferences {
		if owner.Kind == "ReplicaSet" && hash != "" {
			if name, found := strings.CutSuffix(owner.Name, "-"+hash); found {
				return name
			}
		}
	}
	return ""
}

// counters holds the counter of every Pod, deleted ones included.
type counters struct {
	mu   sync.Mutex
	pods map[types.UID]*counter
	gone map[types.UID]bool
}

func newCounters() *counters {
	return &counters{pods: map[types.UID]*counter{}, gone: map[types.UID]bool{}}
}

func (c *counters) of(pod *corev1.Pod) *counter {
	c.mu.Lock()
	defer c.mu.Unlock()
	if existing, found := c.pods[pod.UID]; found {
		return existing
	}
	created := &counter{pod: pod, meter: meter{since: time.Now()}}
	c.pods[pod.UID] = created
	return created
}

// forget drops the Pod's counter at the next reset.
func (c *counters) forget(uid types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, found := c.pods[uid]; found {
		c.gone[uid] = true
	}
}

func (c *counters) snapshot() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := Counts{Pods: make([]PodCounts, 0, len(c.pods))}
	for _, counter := range c.pods {
		out.Pods = append(out.Pods, counter.snapshot())
	}
	slices.SortFunc(out.Pods, func(a, b PodCounts) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Pod, b.Pod))
	})
	return out
}

func (c *counters) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for uid := range c.gone {
		delete(c.pods, uid)
	}
	clear(c.gone)
	for _, counter := range c.pods {
		counter.reset()
	}
}

// handler serves GET /counts, POST /reset and GET /healthz.
func (c *counters) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /counts", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		// The only possible failure is a client that left: nobody is there to be told.
		_ = json.NewEncoder(w).Encode(c.snapshot())
	})
	mux.HandleFunc("POST /reset", func(w http.ResponseWriter, _ *http.Request) {
		c.reset()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
	})
	return mux
}
