// Package rights makes grayscale do everything that it can, on the lab, and compares its requests to the API server
// with its roles: no right is unused, and none is missing.
package rights

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"grayscale.dev/grayscale/test/access"
	"grayscale.dev/grayscale/test/harness"
)

func TestMain(m *testing.M) {
	os.Exit(harness.Main(m, harness.Options{Grayscale: true, Settle: 500 * time.Millisecond}))
}

// The policy under which grayscale's own Pods run, Pod Security's restricted, is really enforced.
func TestPodSecurity(t *testing.T) {
	pod := `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"probe"},"spec":{"containers":[{"name":"probe","image":"probe"}]}}`
	out, err := harness.TryKubectl(t, pod, "create", "-n", own, "--dry-run=server", "-f", "-")
	if err == nil || !strings.Contains(out, `violates PodSecurity "restricted`) {
		t.Errorf("a Pod with Kubernetes' defaults is admitted: %s", out)
	}
	harness.WaitReady(t, own, "grayscale")
}

// The roles of the installed manifests are as few as grayscale uses: each verb on each resource, of each name.
func TestEveryRightIsUsed(t *testing.T) {
	live(t)
	rendered, err := os.ReadFile(filepath.Join("..", "..", "manifests", "base", "grayscale.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	rights, err := access.Rights(rendered)
	if err != nil || len(rights) == 0 {
		t.Fatalf("%d rights: %v", len(rights), err)
	}
	requests, err := harness.Requests(own, "grayscale")
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range requests {
		if q.Refused {
			t.Errorf("grayscale may not %s", q)
		}
		if q.Resource == "secrets" && q.Namespace != own {
			t.Errorf("grayscale asked for a Secret of another namespace: %s", q)
		}
	}
	for _, r := range rights {
		if !slices.ContainsFunc(requests, r.Allowed) {
			t.Errorf("nothing that grayscale does needs this right: %s", r)
		}
	}
	t.Logf("%d rights, used by %d kinds of requests", len(rights), len(requests))
}
