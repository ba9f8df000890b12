package pods

import (
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// sandbox is one Pod that runs here. All but pod is touched only by the worker that handles the Pod.
type sandbox struct {
	uid        types.UID
	address    netip.Addr // 10.X.a.b
	started    time.Time
	containers []*container
	workDir    string // of a process Pod; empty otherwise
	kubeconfig string
	renewToken time.Time // zero without a token

	pod atomic.Pointer[corev1.Pod] // the newest seen; never changed in place

	closing time.Time // when a deleted Pod stops serving; zero while it is not deleted
	stopped bool      // its containers have been told to stop
}

// step moves every container on and returns how long until it must be called again, 0 for "woken by itself".
func (s *sandbox) step(now time.Time) time.Duration {
	var again time.Duration
	for _, c := range s.containers {
		again = sooner(again, c.step(now))
		_, wait := c.isReady(now)
		again = sooner(again, wait)
	}
	return again
}

// end moves a deleted Pod on: it serves on until closing, then its containers get until deadline to finish.
func (s *sandbox) end(now, deadline time.Time) (over bool, again time.Duration) {
	if wait := s.closing.Sub(now); wait > 0 {
		return false, wait
	}
	over = true
	for _, c := range s.containers {
		if c.over() {
			continue
		}
		over = false
		if !s.stopped {
			c.work.stop(max(deadline.Sub(now), 0))
		}
	}
	s.stopped = true
	return over, 0 // each container wakes the Pod when it is over
}

// kill ends everything at once.
func (s *sandbox) kill() {
	for _, c := range s.containers {
		if c.work != nil {
			c.work.kill()
		}
	}
}

// clean removes the Pod's files.
func (s *sandbox) clean() error {
	if s.workDir == "" {
		return nil
	}
	return os.RemoveAll(s.workDir)
}

// isProcess says whether a real process runs in the Pod.
func (s *sandbox) isProcess() bool { return s.workDir != "" }

// sooner is the shorter of two waits, where 0 stands for no wait needed.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}
