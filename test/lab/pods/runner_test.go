package pods

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"
	podutil "k8s.io/kubernetes/pkg/api/v1/pod"
)

// runnerFixture is a runner against an API server's stand-in that binds as a real one does.
type runnerFixture struct {
	*testing.T
	client *fake.Clientset
	runner *runner
	stop   func()
}

func startRunner(t *testing.T, existing ...runtime.Object) *runnerFixture {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "logs"), 0o755); err != nil {
		t.Fatal(err)
	}
	client := fake.NewClientset(existing...)
	client.PrependReactor("create", "pods", func(action clienttesting.Action) (bool, runtime.Object, error) {
		create := action.(clienttesting.CreateAction)
		if action.GetSubresource() != "binding" {
			return false, nil, nil
		}
		binding := create.GetObject().(*corev1.Binding)
		pods := corev1.SchemeGroupVersion.WithResource("pods")
		obj, err := client.Tracker().Get(pods, action.GetNamespace(), binding.Name)
		if err != nil {
			return true, nil, err
		}
		pod := obj.(*corev1.Pod).DeepCopy()
		pod.Spec.NodeName = binding.Target.Name
		return true, binding, client.Tracker().Update(pods, pod, action.GetNamespace())
	})
	f := &runnerFixture{T: t, client: client, runner: newRunner(client, &rest.Config{Host: "https://127.0.0.1:1"}, dir, 251, 50*time.Millisecond)}
	ctx, cancel := context.WithCancel(context.Background())
	started, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- f.runner.run(ctx, func() { close(started) }) }()
	f.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the runner ended with %v", err)
		}
		ended <- nil
	}
	t.Cleanup(f.stop)
	select {
	case <-started:
	case <-time.After(10 * time.Second):
		t.Fatal("the runner does not start")
	}
	return f
}

func newPod(t *testing.T, name, image string, env ...corev1.EnvVar) *corev1.Pod {
	t.Helper()
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", UID: types.UID("uid-" + name), Labels: map[string]string{"version": "v1"}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: image, Env: env,
			Ports: []corev1.ContainerPort{{ContainerPort: freePort(t, netip.MustParseAddr("127.251.1.1"))}}}}},
	}
}

func (f *runnerFixture) create(pod *corev1.Pod) {
	f.Helper()
	if _, err := f.client.CoreV1().Pods(pod.Namespace).Create(f.Context(), pod, metav1.CreateOptions{}); err != nil {
		f.Fatal(err)
	}
}

func (f *runnerFixture) change(name string, change func(*corev1.Pod)) {
	f.Helper()
	pod, err := f.client.CoreV1().Pods("shop").Get(f.Context(), name, metav1.GetOptions{})
	if err != nil {
		f.Fatal(err)
	}
	change(pod)
	if _, err := f.client.CoreV1().Pods("shop").Update(f.Context(), pod, metav1.UpdateOptions{}); err != nil {
		f.Fatal(err)
	}
}

// until waits for the Pod to be as wanted; a Pod that is gone is nil.
func (f *runnerFixture) until(name, what string, wanted func(*corev1.Pod) bool) *corev1.Pod {
	f.Helper()
	var pod *corev1.Pod
	for limit := time.Now().Add(10 * time.Second); time.Now().Before(limit); time.Sleep(2 * time.Millisecond) {
		var err error
		if pod, err = f.client.CoreV1().Pods("shop").Get(f.Context(), name, metav1.GetOptions{}); err != nil {
			pod = nil
		}
		if wanted(pod) {
			return pod
		}
	}
	f.Fatalf("%s does not become %s: %+v", name, what, pod)
	return nil
}

func isReady(pod *corev1.Pod) bool   { return pod != nil && podutil.IsPodReady(pod) }
func isUnready(pod *corev1.Pod) bool { return pod != nil && !podutil.IsPodReady(pod) }

func waitingFor(reason string) func(*corev1.Pod) bool {
	return func(pod *corev1.Pod) bool {
		return pod != nil && len(pod.Status.ContainerStatuses) == 1 && pod.Status.ContainerStatuses[0].State.Waiting != nil &&
			pod.Status.ContainerStatuses[0].State.Waiting.Reason == reason
	}
}

func TestRunnerLifeOfAPod(t *testing.T) {
	f := startRunner(t)
	f.create(newPod(t, "web-1", "example/web:1"))
	pod := f.until("web-1", "ready", isReady)
	if pod.Spec.NodeName != nodeName || pod.Status.Phase != corev1.PodRunning || pod.Status.PodIP != "10.251.1.1" ||
		pod.Status.HostIP != "10.251.0.1" || pod.Status.StartTime == nil || len(pod.Status.PodIPs) != 1 ||
		pod.Status.ContainerStatuses[0].State.Running == nil || !podutil.IsContainersReadyConditionTrue(pod.Status) {
		t.Errorf("status %+v", pod.Status)
	}
	url := "http://" + netip.AddrPortFrom(netip.MustParseAddr("127.251.1.1"), uint16(pod.Spec.Containers[0].Ports[0].ContainerPort)).String()
	if version := askVersion(t, url); version != "v1" {
		t.Errorf("version %q answers", version)
	}

	f.change("web-1", func(pod *corev1.Pod) {
		pod.Annotations = map[string]string{readyAnnotation: "false"}
		pod.Labels["version"] = "v2"
	})
	f.until("web-1", "unready", isUnready)
	if version := askVersion(t, url); version != "v2" {
		t.Errorf("an unready Pod answers as version %q; want the new label", version)
	}
	f.change("web-1", func(pod *corev1.Pod) { pod.Annotations = nil })
	f.until("web-1", "ready again", isReady)

	f.change("web-1", func(pod *corev1.Pod) {
		pod.DeletionTimestamp, pod.Finalizers = &metav1.Time{Time: time.Now().Add(30 * time.Second)}, []string{"keep/for-the-stand-in"}
	})
	if version := askVersion(t, url); version != "v2" {
		t.Errorf("version %q answers just after the deletion", version)
	}
	f.until("web-1", "gone", func(pod *corev1.Pod) bool { return pod == nil })
	if response, err := http.Get(url); err == nil {
		response.Body.Close()
		t.Error("a deleted Pod still answers")
	}
	if counts := f.runner.counters.snapshot(); len(counts.Pods) != 1 || counts.Pods[0].Requests != 3 {
		t.Errorf("a deleted Pod's counts are %+v", counts)
	}
}

func askVersion(t *testing.T, url string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer Answer
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return answer.Version
}

func TestRunnerReadyAfter(t *testing.T) {
	f := startRunner(t)
	f.create(newPod(t, "slow", "example/web:1", corev1.EnvVar{Name: "LAB_READY_AFTER", Value: "300ms"}))
	f.until("slow", "running but unready", func(pod *corev1.Pod) bool {
		return isUnready(pod) && pod.Status.Phase == corev1.PodRunning
	})
	f.until("slow", "ready", isReady)
}

func TestRunnerCrashAndReturn(t *testing.T) {
	f := startRunner(t)
	f.create(newPod(t, "frail", "example/web:1", corev1.EnvVar{Name: "LAB_CRASH", Value: "150ms"}))
	f.until("frail", "ready", isReady)
	pod := f.until("frail", "crashed", waitingFor("CrashLoopBackOff"))
	last := pod.Status.ContainerStatuses[0]
	if isReady(pod) || last.RestartCount != 1 || last.LastTerminationState.Terminated == nil || last.LastTerminationState.Terminated.ExitCode != 1 {
		t.Errorf("status %+v", pod.Status)
	}
	f.until("frail", "ready again", isReady)
}

func TestRunnerRefusals(t *testing.T) {
	f := startRunner(t)
	f.create(newPod(t, "unpulled", "lab/missing:v1"))
	f.create(newPod(t, "misspelt", "example/web:1", corev1.EnvVar{Name: "LAB_LATENCY", Value: "fast"}))
	f.create(newPod(t, "nobinary", "grayscale:v1"))
	f.until("unpulled", "refused", waitingFor("ErrImagePull"))
	f.until("misspelt", "refused", waitingFor("CreateContainerConfigError"))
	f.until("nobinary", "refused", waitingFor("ErrImagePull"))
	pod := f.until("unpulled", "backing off", waitingFor("ImagePullBackOff"))
	if isReady(pod) || pod.Status.Phase != corev1.PodPending {
		t.Errorf("status %+v", pod.Status)
	}
}

func TestRunnerKeepsAddressesOfAnEarlierRun(t *testing.T) {
	old := newPod(t, "old", "example/web:1")
	old.Spec.NodeName, old.Status.PodIP = nodeName, "10.251.1.1"
	old.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "web", RestartCount: 2,
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	f := startRunner(t, old)
	f.create(newPod(t, "new", "example/web:1"))
	if pod := f.until("new", "ready", isReady); pod.Status.PodIP == "10.251.1.1" {
		t.Error("a new Pod got the address of one that was there before")
	}
	pod := f.until("old", "ready", isReady)
	if pod.Status.PodIP != "10.251.1.1" || pod.Status.ContainerStatuses[0].RestartCount != 3 {
		t.Errorf("status %+v; want the old address, and one more than 2 restarts", pod.Status)
	}
}

func TestRunnerStopsEverything(t *testing.T) {
	f := startRunner(t)
	f.create(newPod(t, "web-1", "example/web:1"))
	pod := f.until("web-1", "ready", isReady)
	f.stop()
	url := "http://" + netip.AddrPortFrom(netip.MustParseAddr("127.251.1.1"), uint16(pod.Spec.Containers[0].Ports[0].ContainerPort)).String()
	if response, err := http.Get(url); err == nil {
		response.Body.Close()
		t.Error("a Pod answers after its runner ended")
	}
}

func TestCountersAPI(t *testing.T) {
	c := newCounters()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-v1-abc-x", Namespace: "shop", UID: "1",
		Labels:          map[string]string{"version": "v1", "pod-template-hash": "abc"},
		OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "web-v1-abc"}}}}
	c.of(pod).request(true)
	c.of(pod).request(false)
	c.of(pod).answered(200)
	server := httptest.NewServer(c.handler())
	defer server.Close()
	read := func() Counts {
		response, err := http.Get(server.URL + "/counts")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		var counts Counts
		if err := json.NewDecoder(response.Body).Decode(&counts); err != nil {
			t.Fatal(err)
		}
		return counts
	}
	got := read()
	if len(got.Pods) != 1 {
		t.Fatalf("counts %+v", got)
	}
	if p := got.Pods[0]; p.Requests != 1 || p.Mirrored != 1 || p.Codes[200] != 1 || p.Version != "v1" || p.Deployment != "web-v1" {
		t.Errorf("counts %+v", p)
	}
	c.forget("1")
	if len(read().Pods) != 1 {
		t.Error("a deleted Pod's counts are gone before a reset")
	}
	response, err := http.Post(server.URL+"/reset", "", nil)
	if err != nil || response.StatusCode != http.StatusNoContent {
		t.Errorf("reset: %v, %v", response, err)
	}
	if got := read(); len(got.Pods) != 0 {
		t.Errorf("after a reset: %+v", got)
	}
}
