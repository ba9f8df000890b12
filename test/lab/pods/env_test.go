package pods

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestParseBehaviour(t *testing.T) {
	got, err := parseBehaviour(map[string]string{
		"LAB_READY_AFTER": "2s", "LAB_LATENCY": "5ms", "LAB_ERROR_RATE": "0.25", "LAB_CRASH": "1m", "OTHER": "x",
	})
	want := behaviour{readyAfter: 2 * time.Second, latency: 5 * time.Millisecond, errorRate: 0.25, crashAfter: time.Minute}
	if err != nil || got != want {
		t.Errorf("got %+v, error %v", got, err)
	}
	for name, value := range map[string]string{
		"LAB_READY_AFTER": "2", "LAB_LATENCY": "-5ms", "LAB_ERROR_RATE": "1.5", "LAB_CRASH": "soon",
	} {
		_, err := parseBehaviour(map[string]string{name: value})
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), value) {
			t.Errorf("%s=%s: error %v; want one that names both", name, value, err)
		}
	}
	if _, err := parseBehaviour(map[string]string{"LAB_ERROR_RATE": "NaN"}); err == nil {
		t.Error("LAB_ERROR_RATE=NaN is taken")
	}
}

func field(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
}

func TestProcessArguments(t *testing.T) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "g-1", Namespace: "grayscale-system"},
		Spec:       corev1.PodSpec{ServiceAccountName: "grayscale", NodeName: "lab"},
		Status:     corev1.PodStatus{PodIP: "10.251.1.7", HostIP: "10.251.0.1"},
	}
	c := &corev1.Container{
		Name: "manager", Command: []string{"/grayscale", "run"},
		Args: []string{"--name=$(POD)", "--ns=$(NS)", "--ip=$(IP)", "--literal=$$(POD)", "--unknown=$(NOPE)"},
		Env: []corev1.EnvVar{field("POD", "metadata.name"), field("NS", "metadata.namespace"), field("IP", "status.podIP"),
			field("SA", "spec.serviceAccountName"), {Name: "WHO", Value: "$(NS)/$(SA)"}},
	}
	env, err := resolveEnv(pod, c)
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{"POD": "g-1", "NS": "grayscale-system", "IP": "10.251.1.7", "SA": "grayscale",
		"WHO": "grayscale-system/grayscale"}; !maps.Equal(env, want) {
		t.Errorf("env %v", env)
	}
	ip, _ := newAddresses(251).claim("10.251.1.7", "")
	args := processArgs(c, env, "/tmp/kubeconfig", loopback(ip))
	want := []string{"run", "--name=g-1", "--ns=grayscale-system", "--ip=10.251.1.7", "--literal=$(POD)", "--unknown=$(NOPE)",
		"--kubeconfig=/tmp/kubeconfig", "--bind-address=127.251.1.7"}
	if !slices.Equal(args, want) {
		t.Errorf("args %q\nwant %q", args, want)
	}
	if c.Args[0] != "--name=$(POD)" {
		t.Error("the Pod's spec, which is shared, was changed")
	}
}

func TestResolveEnvRefusesWhatItDoesNotKnow(t *testing.T) {
	secret := corev1.EnvVar{Name: "TOKEN", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{Key: "k"}}}
	for _, c := range []*corev1.Container{
		{Name: "web", Env: []corev1.EnvVar{secret}},
		{Name: "web", Env: []corev1.EnvVar{field("TOKEN", "metadata.nonsense")}},
		{Name: "web", EnvFrom: []corev1.EnvFromSource{{Prefix: "TOKEN"}}},
	} {
		if _, err := resolveEnv(&corev1.Pod{}, c); err == nil || !strings.Contains(err.Error(), `"web"`) {
			t.Errorf("%+v: error %v; want one that names the container", c, err)
		}
	}
}

func TestImages(t *testing.T) {
	for image, want := range map[string][2]bool{ // process, missing
		"grayscale": {true, false}, "registry:5000/a/grayscale:v1@sha256:00": {true, false}, "grayscale/web:1": {false, false},
		"registry:5000/web": {false, false}, "web:bad-image": {false, true}, "a/web:does-not-exist": {false, true},
		"lab/missing": {false, true}, "lab/missing-2:v1": {false, true}, "bad-image": {false, false},
	} {
		if got := [2]bool{isProcess(image), isMissing(image)}; got != want {
			t.Errorf("%s: process, missing = %v, want %v", image, got, want)
		}
	}
}
