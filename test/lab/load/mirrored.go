package load

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"

	"grayscale.dev/grayscale/test/lab/pods"
)

// Copies travel apart from the answers: the last ones may arrive after them.
const (
	settlePause = 100 * time.Millisecond
	settleLimit = 2 * time.Second
)

// mirrorCounts reads how many copies each Pod of a namespace has received.
type mirrorCounts struct {
	url       string // of the counters API
	namespace string // empty for all
}

// namespaceOf gives the namespace in a Service's host name; empty when the host is not one, such as a gateway's.
func namespaceOf(host string) string {
	parts := strings.Split(host, ".")
	if len(parts) >= 3 && parts[2] == "svc" {
		return parts[1]
	}
	return ""
}

// podKey tells one Pod's counts from another's.
type podKey struct{ namespace, pod string }

// mirrored is one Pod's count and whose version it counts for.
type mirrored struct {
	version string
	count   int64
}

func (m mirrorCounts) read(ctx context.Context) (map[podKey]mirrored, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(m.url, "/")+"/counts", nil)
	if err != nil {
		return nil, fmt.Errorf("counters of the Pods: %w", err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("counters of the Pods: %w: is the lab still up?", err)
	}
	defer func() { _ = answer.Body.Close() }() // it has been read
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("counters of the Pods: %s answered %s: start the lab anew", request.URL, answer.Status)
	}
	var counts pods.Counts
	if err := json.NewDecoder(answer.Body).Decode(&counts); err != nil {
		return nil, fmt.Errorf("counters of the Pods: %w", err)
	}
	out := map[podKey]mirrored{}
	for _, pod := range counts.Pods {
		if m.namespace == "" || pod.Namespace == m.namespace {
			out[podKey{pod.Namespace, pod.Pod}] = mirrored{cmp.Or(pod.Version, unlabelled), pod.Mirrored}
		}
	}
	return out, nil
}

// settled reads until two readings agree, or settleLimit is over.
func (m mirrorCounts) settled(ctx context.Context) (map[podKey]mirrored, error) {
	previous, err := m.read(ctx)
	for limit := time.Now().Add(settleLimit); err == nil && time.Now().Before(limit); {
		time.Sleep(settlePause)
		var current map[podKey]mirrored
		if current, err = m.read(ctx); err == nil && maps.Equal(previous, current) {
			return current, nil
		}
		previous = current
	}
	return previous, err
}

// grown sums by version what came in between two readings.
func grown(before, after map[podKey]mirrored) map[string]int64 {
	sums := map[string]int64{}
	for pod, now := range after {
		if n := now.count - before[pod].count; n > 0 {
			sums[now.version] += n
		}
	}
	return sums
}
