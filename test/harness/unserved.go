package harness

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// noneHealthy finds subset and namespace in the name of the counter that Envoy raises for a request to a cluster
// without an endpoint, as istiod names its clusters:
// cluster.outbound|80|v1|web.shop.svc.cluster.local;.upstream_cx_none_healthy.
var noneHealthy = regexp.MustCompile(`^cluster\.outbound\|\d+\|([^|]*)\|[^.]+\.([^.]+)\..*upstream_cx_none_healthy$`)

// Unserved are the requests and connections to the Services of a namespace for which the mesh client's Envoy had a
// route but no endpoint, by their subset. They are counted from the creation of the subset.
func Unserved(t testing.TB, namespace string) map[string]int {
	t.Helper()
	response, err := http.Get(strings.TrimSuffix(Lab().EnvoyAdmin, "/") + "/stats?format=json&filter=upstream_cx_none_healthy")
	if err != nil {
		t.Fatalf("Envoy's counters: %v", err)
	}
	defer response.Body.Close()
	var all struct {
		Stats []struct {
			Name  string `json:"name"`
			Value int    `json:"value"`
		} `json:"stats"`
	}
	if err := json.NewDecoder(response.Body).Decode(&all); err != nil {
		t.Fatalf("Envoy's counters: %s: %v", response.Status, err)
	}
	sums := map[string]int{}
	for _, s := range all.Stats {
		if found := noneHealthy.FindStringSubmatch(s.Name); found != nil && found[2] == namespace {
			sums[found[1]] += s.Value
		}
	}
	return sums
}
