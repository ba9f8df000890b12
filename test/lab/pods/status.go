package pods

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// readyAnnotation set to "false" makes a Pod unready while it goes on serving, as a failing readiness probe does.
const readyAnnotation = "lab.grayscale.dev/ready"

// status is what a kubelet would report of the sandbox at now. Conditions that others own are kept.
func (s *sandbox) status(nodeIP string, now time.Time) corev1.PodStatus {
	pod := s.pod.Load()
	status := *pod.Status.DeepCopy()
	status.ObservedGeneration = pod.Generation
	status.Phase = s.phase()
	status.HostIP, status.HostIPs = nodeIP, []corev1.HostIP{{IP: nodeIP}}
	status.PodIP, status.PodIPs = s.address.String(), []corev1.PodIP{{IP: s.address.String()}}
	if status.StartTime == nil {
		status.StartTime = new(instant(s.started))
	}
	forcedUnready := pod.Annotations[readyAnnotation] == "false"
	status.ContainerStatuses, status.InitContainerStatuses = nil, initStatuses(pod, s.started)
	allReady := true
	for _, c := range s.containers {
		ready, _ := c.isReady(now)
		ready = ready && !forcedUnready
		allReady = allReady && ready
		status.ContainerStatuses = append(status.ContainerStatuses, c.status(ready))
	}
	reason, message := "", ""
	switch {
	case forcedUnready:
		reason, message = "ContainersNotReady", "annotation "+readyAnnotation+" is false"
	case !allReady:
		reason, message = "ContainersNotReady", "containers with unready status"
	}
	set := func(kind corev1.PodConditionType, ok bool, reason, message string) {
		setCondition(&status.Conditions, kind, ok, reason, message, pod.Generation, now)
	}
	set(corev1.PodScheduled, true, "", "")
	set(corev1.PodInitialized, true, "", "")
	set(corev1.ContainersReady, allReady, reason, message)
	if gate, open := closedGate(pod); !open && allReady {
		set(corev1.PodReady, false, "ReadinessGatesNotReady", "readiness gate "+string(gate)+" is not True")
	} else {
		set(corev1.PodReady, allReady, reason, message)
	}
	return status
}

// phase is Pending until every container has been started once.
func (s *sandbox) phase() corev1.PodPhase {
	for _, c := range s.containers {
		if c.work == nil && c.last == nil {
			return corev1.PodPending
		}
	}
	return corev1.PodRunning
}

func (c *container) status(ready bool) corev1.ContainerStatus {
	status := corev1.ContainerStatus{
		Name: c.spec.Name, Image: c.spec.Image, Ready: ready, Started: new(c.work != nil), RestartCount: c.restarts,
	}
	if c.last != nil {
		status.LastTerminationState.Terminated = c.last
	}
	if c.work == nil {
		status.State.Waiting = c.waiting
		return status
	}
	status.ImageID, status.ContainerID = "lab://"+c.spec.Image, "lab://"+c.spec.Name
	status.State.Running = &corev1.ContainerStateRunning{StartedAt: instant(c.startedAt)}
	return status
}

// initStatuses reports init containers as done: the lab runs none.
func initStatuses(pod *corev1.Pod, at time.Time) []corev1.ContainerStatus {
	var statuses []corev1.ContainerStatus
	for _, c := range pod.Spec.InitContainers {
		statuses = append(statuses, corev1.ContainerStatus{
			Name: c.Name, Image: c.Image, Ready: true, Started: new(false),
			State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
				Reason: "Completed", StartedAt: instant(at), FinishedAt: instant(at),
			}},
		})
	}
	return statuses
}

// closedGate names the first readiness gate whose condition is not True.
func closedGate(pod *corev1.Pod) (gate corev1.PodConditionType, open bool) {
	for _, g := range pod.Spec.ReadinessGates {
		if !slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == g.ConditionType && c.Status == corev1.ConditionTrue
		}) {
			return g.ConditionType, false
		}
	}
	return "", true
}

func setCondition(conditions *[]corev1.PodCondition, kind corev1.PodConditionType, ok bool, reason, message string,
	generation int64, now time.Time) {
	want := corev1.PodCondition{Type: kind, Status: corev1.ConditionFalse, Reason: reason, Message: message,
		ObservedGeneration: generation, LastTransitionTime: instant(now)}
	if ok {
		want.Status = corev1.ConditionTrue
	}
	for i, have := range *conditions {
		if have.Type != kind {
			continue
		}
		if have.Status == want.Status {
			want.LastTransitionTime = have.LastTransitionTime
		}
		want.LastProbeTime = have.LastProbeTime
		(*conditions)[i] = want
		return
	}
	*conditions = append(*conditions, want)
}

// instant has whole seconds, as times in the API have: a status that is read back compares equal.
func instant(t time.Time) metav1.Time {
	return metav1.NewTime(t).Rfc3339Copy()
}
