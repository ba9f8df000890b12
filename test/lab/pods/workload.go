package pods

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// workload is one started container.
type workload interface {
	// ready says whether the container serves at now. When it will become ready by time alone, wait is how long that
	// takes; otherwise wait is 0 and the workload wakes its Pod when the answer changes.
	ready(now time.Time) (ready bool, wait time.Duration)
	// stop begins a graceful end and returns at once; what has not ended after within is cut.
	stop(within time.Duration)
	// kill ends at once.
	kill()
	// exited says whether the container is over, and with which exit code. The workload wakes its Pod when it becomes so.
	exited() (code int32, over bool)
}

// refusal is why a container cannot be started: the waiting state its status shows.
type refusal struct {
	reason string // a kubelet's word, such as CreateContainerConfigError
	err    error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// Back-off between two starts of a crashing container: as a kubelet's, ten times faster.
const (
	firstBackoff = 1 * time.Second
	maxBackoff   = 30 * time.Second
	// A container that ran this long has recovered: its next crash starts the back-off anew.
	recovered = 60 * time.Second
	// pullBackoff is how long a failed pull shows ErrImagePull before ImagePullBackOff.
	pullBackoff = 1 * time.Second
)

// container is one container of a Pod over all its restarts. Only the worker that handles its Pod touches it.
type container struct {
	spec   *corev1.Container
	launch func() (workload, error) // starts it; a *refusal names a waiting reason

	work      workload // nil while it waits
	startedAt time.Time
	restarts  int32
	waiting   *corev1.ContainerStateWaiting
	last      *corev1.ContainerStateTerminated
	retryAt   time.Time
	backoff   time.Duration
}

// step starts the container, or notes its end, when it is time; it returns how long until it must be called again, 0
// when a wake-up comes by itself.
func (c *container) step(now time.Time) time.Duration {
	if c.work != nil {
		code, over := c.work.exited()
		if !over {
			return 0
		}
		c.crashed(now, code)
	}
	if wait := c.retryAt.Sub(now); wait > 0 {
		return wait
	}
	work, err := c.launch()
	if err != nil {
		c.refused(now, err)
		return c.retryAt.Sub(now)
	}
	c.work, c.startedAt, c.waiting = work, now, nil
	return 0
}

func (c *container) crashed(now time.Time, code int32) {
	reason := "Error"
	if code == 0 {
		reason = "Completed"
	}
	c.last = &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, StartedAt: instant(c.startedAt), FinishedAt: instant(now)}
	if now.Sub(c.startedAt) > recovered {
		c.backoff = 0
	}
	c.backoff = min(max(2*c.backoff, firstBackoff), maxBackoff)
	c.work, c.retryAt = nil, now.Add(c.backoff)
	c.restarts++
	c.waiting = &corev1.ContainerStateWaiting{
		Reason:  "CrashLoopBackOff",
		Message: "back-off " + c.backoff.String() + " restarting failed container " + c.spec.Name,
	}
}

func (c *container) refused(now time.Time, err error) {
	reason := "CreateContainerError"
	if r, ok := err.(*refusal); ok {
		reason = r.reason
	}
	if reason == "ErrImagePull" && c.waiting != nil {
		reason = "ImagePullBackOff"
	}
	c.waiting = &corev1.ContainerStateWaiting{Reason: reason, Message: err.Error()}
	if reason == "ErrImagePull" {
		c.retryAt = now.Add(pullBackoff)
		return
	}
	c.backoff = min(max(2*c.backoff, firstBackoff), maxBackoff)
	c.retryAt = now.Add(c.backoff)
}

// isReady says whether the container serves, and in how long to ask again (0: a wake-up comes by itself).
func (c *container) isReady(now time.Time) (bool, time.Duration) {
	if c.work == nil {
		return false, 0
	}
	return c.work.ready(now)
}

// over says whether nothing of the container runs any more.
func (c *container) over() bool {
	if c.work == nil {
		return true
	}
	_, over := c.work.exited()
	return over
}
