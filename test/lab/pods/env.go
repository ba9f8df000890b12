package pods

import (
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/fieldpath"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
)

// resolveEnv gives a container's environment as a kubelet would: literal values with $(VAR) of the variables before
// them, and the downward API's fields. Other sources are refused, by name.
func resolveEnv(pod *corev1.Pod, container *corev1.Container) (map[string]string, error) {
	env := make(map[string]string, len(container.Env))
	for _, v := range container.Env {
		switch {
		case v.ValueFrom == nil:
			env[v.Name] = expansion.Expand(v.Value, expansion.MappingFuncFor(env))
		case v.ValueFrom.FieldRef != nil:
			value, err := fieldValue(pod, v.ValueFrom.FieldRef.FieldPath)
			if err != nil {
				return nil, fmt.Errorf("container %q: env %s: %w", container.Name, v.Name, err)
			}
			env[v.Name] = value
		default:
			return nil, fmt.Errorf("container %q: env %s: the lab knows only value and valueFrom.fieldRef: use one of them",
				container.Name, v.Name)
		}
	}
	if len(container.EnvFrom) > 0 {
		return nil, fmt.Errorf("container %q: the lab does not know envFrom: list the variables under env", container.Name)
	}
	return env, nil
}

func fieldValue(pod *corev1.Pod, path string) (string, error) {
	switch path {
	case "spec.nodeName":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.hostIP", "status.hostIPs":
		return pod.Status.HostIP, nil
	case "status.podIP", "status.podIPs":
		return pod.Status.PodIP, nil
	}
	return fieldpath.ExtractFieldPathAsString(pod, path)
}

// behaviour is what a container's LAB_* environment asks of the echo app. The zero value is a healthy app.
type behaviour struct {
	readyAfter time.Duration // LAB_READY_AFTER: not Ready for this long after each start
	latency    time.Duration // LAB_LATENCY: added to every answer
	errorRate  float64       // LAB_ERROR_RATE: 0..1, share of requests answered with 500
	crashAfter time.Duration // LAB_CRASH: the container exits this long after each start; 0 never
	cpu        time.Duration // LAB_CPU: what the metrics API says that each request takes of a processor
}

// parseBehaviour reads the LAB_* variables of env; an unreadable one is an error that says what may be written.
func parseBehaviour(env map[string]string) (behaviour, error) {
	var b behaviour
	for name, target := range map[string]*time.Duration{
		"LAB_READY_AFTER": &b.readyAfter,
		"LAB_LATENCY":     &b.latency,
		"LAB_CRASH":       &b.crashAfter,
		"LAB_CPU":         &b.cpu,
	} {
		text, set := env[name]
		if !set {
			continue
		}
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return behaviour{}, fmt.Errorf("env %s=%q is not a duration: write a positive one such as 250ms or 5s", name, text)
		}
		*target = d
	}
	if text, set := env["LAB_ERROR_RATE"]; set {
		rate, err := strconv.ParseFloat(text, 64)
		if err != nil || !(rate >= 0 && rate <= 1) {
			return behaviour{}, fmt.Errorf("env LAB_ERROR_RATE=%q is not a share: write a number from 0 to 1 such as 0.2", text)
		}
		b.errorRate = rate
	}
	return b, nil
}
