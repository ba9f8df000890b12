package harness

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"
)

// App is a Deployment of the lab's echo app, as small as tests need it.
type App struct {
	Name        string            // of the Deployment
	Label       string            // value of the label app, which the Service selects; the Name if empty
	Replicas    int32             // 1 if zero
	Ports       []Port            // one HTTP port 8080 if empty
	Annotations map[string]string // of the Deployment
	PodLabels   map[string]string // besides app and release
	Env         map[string]string // LAB_READY_AFTER, LAB_LATENCY, LAB_ERROR_RATE, LAB_CRASH
	Image       string            // example/app:1 if empty
}

// Port is a port of a container or a Service.
type Port struct {
	Name   string // decides the protocol, as Istio reads it
	Number int32  // of the Service, or of the container
	Target int32  // of the container behind a Service's port; 8080 if zero
}

// Deployment builds the app's Deployment. Its selector holds the labels app and release, so that two Deployments behind
// one Service never count each other's pods.
func (a App) Deployment() *appsv1.Deployment {
	own := map[string]string{"app": cmp.Or(a.Label, a.Name), "release": a.Name}
	labels := map[string]string{}
	for _, set := range []map[string]string{a.PodLabels, own} {
		for k, v := range set {
			labels[k] = v
		}
	}
	container := corev1.Container{Name: "app", Image: cmp.Or(a.Image, "example/app:1")}
	for _, p := range a.Ports {
		container.Ports = append(container.Ports, corev1.ContainerPort{Name: p.Name, ContainerPort: p.Number})
	}
	if len(a.Ports) == 0 {
		container.Ports = []corev1.ContainerPort{{ContainerPort: 8080}}
	}
	for k, v := range a.Env {
		container.Env = append(container.Env, corev1.EnvVar{Name: k, Value: v})
	}
	return &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Name: a.Name, Annotations: a.Annotations},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To(cmp.Or(a.Replicas, 1)),
			Selector: &metav1.LabelSelector{MatchLabels: own},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{container}},
			},
		},
	}
}

// Service builds a Service that selects the pods with the label app=<name>, with one HTTP port 80 if none is given.
func Service(name string, ports ...Port) *corev1.Service {
	if len(ports) == 0 {
		ports = []Port{{Name: "http", Number: 80}}
	}
	s := &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": name}},
	}
	for _, p := range ports {
		port := corev1.ServicePort{Name: p.Name, Port: p.Number}
		port.TargetPort.IntVal = cmp.Or(p.Target, 8080)
		s.Spec.Ports = append(s.Spec.Ports, port)
	}
	return s
}

// Annotate sets (key=value) or removes (key-) our annotations on a Deployment, or on one of its subresources, with the
// same request as kubectl annotate. Keys have no prefix.
func Annotate(namespace, deployment string, changes []string, subresources ...string) error {
	annotations := map[string]any{}
	for _, change := range changes {
		if key, value, found := strings.Cut(change, "="); found {
			annotations["grayscale.dev/"+key] = value
		} else {
			annotations["grayscale.dev/"+strings.TrimSuffix(change, "-")] = nil
		}
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": annotations}})
	if err != nil {
		return err
	}
	_, err = Kube().AppsV1().Deployments(namespace).Patch(context.Background(), deployment, types.MergePatchType, patch,
		metav1.PatchOptions{FieldManager: "kubectl-annotate"}, subresources...)
	return err
}

// YAML is the manifest of some objects, for kubectl's standard input.
func YAML(t testing.TB, objects ...any) string {
	t.Helper()
	var parts []string
	for _, o := range objects {
		text, err := yaml.Marshal(o)
		if err != nil {
			t.Fatalf("a manifest: %v", err)
		}
		parts = append(parts, string(text))
	}
	return strings.Join(parts, "---\n")
}

// PodUIDs are the UIDs of the pods with those labels, by name: equal before and after if no pod was replaced.
func PodUIDs(t testing.TB, namespace, selector string) map[string]string {
	t.Helper()
	list, err := Kube().CoreV1().Pods(namespace).List(context.Background(), metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		t.Fatalf("pods of %s with %s: %v", namespace, selector, err)
	}
	uids := map[string]string{}
	for _, p := range list.Items {
		uids[p.Name] = string(p.UID)
	}
	return uids
}

// Restarts sums the container restarts of the pods with those labels.
func Restarts(t testing.TB, namespace, selector string) int {
	t.Helper()
	list, err := Kube().CoreV1().Pods(namespace).List(context.Background(), metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		t.Fatalf("pods of %s with %s: %v", namespace, selector, err)
	}
	n := 0
	for _, p := range list.Items {
		for _, c := range p.Status.ContainerStatuses {
			n += int(c.RestartCount)
		}
	}
	return n
}

// PodCounts are the requests that one version's pods have received since they started.
type PodCounts struct {
	Requests    int `json:"requests"`    // without copies
	Mirrored    int `json:"mirrored"`    // copies made by mirroring
	Connections int `json:"connections"` // of plain TCP
}

// CountsAtPods returns the lab's counters of what the pods of a namespace have received, by version.
func CountsAtPods(t testing.TB, namespace string) map[string]PodCounts {
	t.Helper()
	response, err := http.Get(strings.TrimSuffix(Lab().Pods, "/") + "/counts")
	if err != nil {
		t.Fatalf("counters of the pods: %v", err)
	}
	defer response.Body.Close()
	var all struct {
		Pods []struct {
			Namespace string `json:"namespace"`
			Version   string `json:"version"`
			PodCounts
		} `json:"pods"`
	}
	if err := json.NewDecoder(response.Body).Decode(&all); err != nil {
		t.Fatalf("counters of the pods: %s: %v", response.Status, err)
	}
	sums := map[string]PodCounts{}
	for _, p := range all.Pods {
		if p.Namespace != namespace {
			continue
		}
		sum := sums[cmp.Or(p.Version, Unlabelled)]
		sum.Requests += p.Requests
		sum.Mirrored += p.Mirrored
		sum.Connections += p.Connections
		sums[cmp.Or(p.Version, Unlabelled)] = sum
	}
	return sums
}

// WaitEvent waits for an Event on an object of the namespace with a reason and a message that holds a text.
func WaitEvent(t testing.TB, namespace, object, reason, text string) {
	t.Helper()
	Eventually(t, fmt.Sprintf("Event %s on %s/%s with %q", reason, namespace, object, text), func() error {
		list, err := Kube().CoreV1().Events(namespace).List(context.Background(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		var seen []string
		for _, e := range list.Items {
			if e.InvolvedObject.Name == object && e.Reason == reason && strings.Contains(e.Message, text) {
				return nil
			}
			seen = append(seen, e.InvolvedObject.Name+" "+e.Reason+": "+e.Message)
		}
		return fmt.Errorf("only %q", seen)
	})
}
