package pods

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// open makes the sandbox of a Pod that is bound here, at the address it already reports or else at a new one.
func (r *runner) open(pod *corev1.Pod) (*sandbox, error) {
	address, claimed := r.addresses.claim(pod.Status.PodIP, pod.UID)
	if !claimed {
		var err error
		if address, err = r.addresses.take(pod.UID); err != nil {
			return nil, err
		}
	}
	s := &sandbox{uid: pod.UID, address: address, started: time.Now()}
	s.pod.Store(pod)
	if slices.ContainsFunc(pod.Spec.Containers, func(c corev1.Container) bool { return isProcess(c.Image) }) {
		s.workDir = filepath.Join(r.dir, "pods", string(pod.UID))
	}
	for i := range pod.Spec.Containers {
		c := &container{spec: &pod.Spec.Containers[i]}
		c.launch = func() (workload, error) { return r.launch(s, c.spec) }
		c.restore(pod.Status.ContainerStatuses)
		s.containers = append(s.containers, c)
	}
	return s, nil
}

// restore takes over what an earlier run of the runner reported of the container; it ended with that run, so that
// starting it now is one more restart.
func (c *container) restore(statuses []corev1.ContainerStatus) {
	for i := range statuses {
		if statuses[i].Name != c.spec.Name {
			continue
		}
		c.restarts, c.last = statuses[i].RestartCount, statuses[i].LastTerminationState.Terminated
		if statuses[i].State.Running != nil {
			c.restarts++
		}
	}
}

// launch starts one container by its image.
func (r *runner) launch(s *sandbox, c *corev1.Container) (workload, error) {
	if isMissing(c.Image) {
		return nil, &refusal{"ErrImagePull", fmt.Errorf("image %q stands for one that no registry has: use another image", c.Image)}
	}
	pod := s.pod.Load().DeepCopy()
	pod.Status.PodIP, pod.Status.HostIP = s.address.String(), r.addresses.nodeIP()
	env, err := resolveEnv(pod, c)
	if err != nil {
		return nil, &refusal{"CreateContainerConfigError", err}
	}
	if isProcess(c.Image) {
		return r.launchProcess(s, c, env)
	}
	return r.launchEcho(s, c, env)
}

func (r *runner) launchEcho(s *sandbox, c *corev1.Container, env map[string]string) (workload, error) {
	behaviour, err := parseBehaviour(env)
	if err != nil {
		return nil, &refusal{"CreateContainerConfigError", fmt.Errorf("container %q: %w", c.Name, err)}
	}
	pod := s.pod.Load()
	app, err := startEcho(echoSettings{
		container: c,
		address:   loopback(s.address),
		behaviour: behaviour,
		pod:       s.pod.Load,
		isTCP: func(port corev1.ContainerPort) bool {
			return speaksTCP(s.pod.Load(), port, r.servicesOf(pod.Namespace))
		},
		counter: r.counters.of(pod),
		wake:    r.waker(pod),
	})
	if err != nil {
		return nil, &refusal{"RunContainerError", err}
	}
	return app, nil
}

func (r *runner) servicesOf(namespace string) []*corev1.Service {
	services, err := r.services.Services(namespace).List(labels.Everything())
	if err != nil { // the cache has no error to give; with none to read, ports go by their own names
		return nil
	}
	return services
}

func (r *runner) launchProcess(s *sandbox, c *corev1.Container, env map[string]string) (workload, error) {
	pod := s.pod.Load()
	binary, err := readBinaryPath(r.dir)
	if err != nil {
		return nil, &refusal{"ErrImagePull", err}
	}
	if !mountsToken(pod) {
		return nil, &refusal{"CreateContainerConfigError", errors.New("the pod has no token of its ServiceAccount: set automountServiceAccountToken")}
	}
	if err := r.renewToken(s); err != nil {
		return nil, &refusal{"CreateContainerConfigError", err}
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	if _, err := r.mount(ctx, s); err != nil {
		return nil, &refusal{"CreateContainerConfigError", err}
	}
	args := processArgs(c, env, s.kubeconfig, loopback(s.address))
	relocate(args, c.VolumeMounts, s.workDir)
	app, err := startProcess(processSettings{
		container:  c,
		binary:     binary,
		args:       args,
		env:        env,
		workDir:    s.workDir,
		logFile:    filepath.Join(r.dir, "logs", pod.Namespace+"_"+pod.Name+".log"),
		address:    loopback(s.address),
		spawner:    r.spawner,
		wake:       r.waker(pod),
		terminated: gracePeriod(pod),
	})
	if err != nil {
		return nil, &refusal{"RunContainerError", err}
	}
	return app, nil
}

// mountsToken: the API server adds the volume with the token, unless Pod or ServiceAccount say otherwise.
func mountsToken(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		return v.Projected != nil && slices.ContainsFunc(v.Projected.Sources, func(s corev1.VolumeProjection) bool { return s.ServiceAccountToken != nil })
	})
}

// renewToken gives the Pod a fresh token.
func (r *runner) renewToken(s *sandbox) error {
	if err := os.MkdirAll(s.workDir, 0o700); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	kubeconfig, renew, err := r.credentials.write(ctx, s.pod.Load(), s.workDir)
	if err != nil {
		return err
	}
	s.kubeconfig, s.renewToken = kubeconfig, renew
	return nil
}

// gracePeriod is what the Pod's spec allows its containers to end in; 30 s is Kubernetes' default.
func gracePeriod(pod *corev1.Pod) time.Duration {
	if s := pod.Spec.TerminationGracePeriodSeconds; s != nil {
		return time.Duration(*s) * time.Second
	}
	return 30 * time.Second
}
