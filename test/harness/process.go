package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

const (
	systemNamespace = "grayscale-system"
	replicas        = "app.kubernetes.io/name=grayscale"
)

// ComponentPID is the process ID of one of the lab's components, such as "kube-apiserver".
func ComponentPID(t testing.TB, component string) int {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(Lab().Dir, "lab.json")) // every time: a restart changes it
	if err != nil {
		t.Fatal(err)
	}
	var state struct {
		PIDs map[string]int `json:"pids"`
	}
	if err := json.Unmarshal(content, &state); err != nil || state.PIDs[component] == 0 {
		t.Fatalf("the process of %s: %v, among %v", component, err, state.PIDs)
	}
	return state.PIDs[component]
}

// RestartComponent kills a component and returns once it runs again and the API server is ready.
func RestartComponent(t testing.TB, component string) {
	t.Helper()
	l := current()
	if out, err := exec.Command(l.binary, "restart", "--dir", l.Dir, component).CombinedOutput(); err != nil {
		t.Fatalf("restart of %s: %v\n%s", component, err, out)
	}
}

// Product is the path of grayscale's binary.
func Product() string { return current().product }

// Replica is one running pod of grayscale and its process.
type Replica struct {
	Pod     string
	PID     int
	Metrics string // URL
	Webhook string // host:port, as any pod of the cluster could dial it
}

// Replicas are the pods of grayscale that are not being deleted.
func Replicas(t testing.TB) []Replica {
	t.Helper()
	list, err := Kube().CoreV1().Pods(systemNamespace).List(context.Background(), metav1.ListOptions{LabelSelector: replicas})
	if err != nil {
		t.Fatalf("the pods of grayscale: %v", err)
	}
	var found []Replica
	for _, p := range list.Items {
		if p.DeletionTimestamp == nil {
			found = append(found, replica(t, p))
		}
	}
	return found
}

func replica(t testing.TB, p corev1.Pod) Replica {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(Lab().Dir, "pods", string(p.UID), "pid"))
	if err != nil {
		t.Fatalf("the process of pod %s: %v", p.Name, err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		t.Fatalf("the process of pod %s: %v", p.Name, err)
	}
	// A pod 10.X.a.b of the lab listens on 127.X.a.b.
	address := "127" + strings.TrimPrefix(p.Status.PodIP, "10")
	return Replica{Pod: p.Name, PID: pid, Webhook: address + ":9443", Metrics: "http://" + address + ":8080/metrics"}
}

// Leader waits until exactly one replica of grayscale says that it leads, and returns it. The Lease's holder is a host
// name, which all replicas of a lab share.
func Leader(t testing.TB) Replica {
	t.Helper()
	var leaders []Replica
	Eventually(t, "one leader", func() error {
		leaders = nil
		for _, r := range Replicas(t) {
			if leads, err := r.Metric("leader_election_master_status"); err == nil && leads == 1 {
				leaders = append(leaders, r)
			}
		}
		if len(leaders) != 1 {
			return fmt.Errorf("those that lead are %v", leaders)
		}
		return nil
	})
	return leaders[0]
}

// LeaseHolder is the holder of grayscale's Lease, a name that is unique for each process; empty if there is none.
func LeaseHolder(t testing.TB) string {
	t.Helper()
	lease, err := Kube().CoordinationV1().Leases(systemNamespace).Get(context.Background(), "grayscale", metav1.GetOptions{})
	if err != nil {
		t.Fatalf("who leads: %v", err)
	}
	return ptr.Deref(lease.Spec.HolderIdentity, "")
}

// Scrape is what Prometheus would read from the replica.
func (r Replica) Scrape() (string, error) {
	asking := http.Client{Timeout: time.Second} // a stopped process does not answer
	response, err := asking.Get(r.Metrics)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return string(text), err
}

// Metric sums a metric of the replica over all series that hold each of the texts, such as `method="PATCH"`.
func (r Replica) Metric(name string, holding ...string) (float64, error) {
	text, err := r.Scrape()
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for line := range strings.Lines(text) {
		series, value, found := strings.Cut(strings.TrimSpace(line), " ")
		if family, _, _ := strings.Cut(series, "{"); !found || family != name || !holdsAll(series, holding) {
			continue
		}
		one, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %q: %w", r.Metrics, line, err)
		}
		sum += one
	}
	return sum, nil
}

func holdsAll(s string, texts []string) bool {
	for _, text := range texts {
		if !strings.Contains(s, text) {
			return false
		}
	}
	return true
}

// Freeze stops processes as SIGSTOP does, until the function that it returns is called or the test ends.
func Freeze(t testing.TB, pids ...int) (thaw func()) {
	t.Helper()
	thawed := false
	thaw = func() {
		if !thawed {
			kill(t, syscall.SIGCONT, pids...)
		}
		thawed = true
	}
	t.Cleanup(thaw)
	kill(t, syscall.SIGSTOP, pids...)
	return thaw
}

func kill(t testing.TB, s syscall.Signal, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		if err := syscall.Kill(pid, s); err != nil {
			t.Errorf("%s to process %d: %v", s, pid, err)
		}
	}
}
