package ha

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/test/harness"
)

// The promises are one second and 17 seconds; a machine that runs builds meanwhile may take longer.
const (
	handoverLimit = 10 * time.Second // without releasing the lease it would take 15 s
	crashLimit    = 30 * time.Second
)

// The leader gets SIGTERM, several times, and each time a weight changes as soon as it has released the lease. The next
// leader writes it.
func TestHandover(t *testing.T) {
	s := begin(t)
	for round := range 3 {
		leader := standing(t)
		before, restarts, percent := harness.LeaseHolder(t), restarts(t), 10*(round+1)
		told := time.Now()
		end(t, leader, syscall.SIGTERM)
		for harness.LeaseHolder(t) == before {
			if time.Since(told) > handoverLimit {
				t.Fatalf("%s has not let the lease go %s after SIGTERM", leader.Pod, time.Since(told))
			}
		}
		free := time.Since(told)
		s.weigh(percent)
		took := s.routed(percent).Sub(told)
		t.Logf("SIGTERM to lease free %s, to the next leader's first write %s", free.Round(time.Millisecond), took.Round(time.Millisecond))
		if took > handoverLimit {
			t.Errorf("the next leader's first write came %s after SIGTERM, want at most %s", took, handoverLimit)
		}
		s.programmed(percent)
		harness.Eventually(t, "the old leader has restarted", func() error { return restartedSince(t, restarts) })
	}
}

// The leader dies while a weight is changed, and loses what it knew about the change.
func TestCrash(t *testing.T) {
	s := begin(t)
	leader := standing(t)
	died := time.Now()
	end(t, leader, syscall.SIGKILL)
	s.weigh(35)
	took := s.routed(35).Sub(died)
	t.Logf("SIGKILL to the next leader's first write %s", took.Round(time.Millisecond))
	if took > crashLimit {
		t.Errorf("the next leader's first write came %s after the crash, want at most %s", took, crashLimit)
	}
	s.programmed(35)
}

func restarts(t *testing.T) int { return harness.Restarts(t, own, replicas) }

func restartedSince(t *testing.T, before int) error {
	if n := restarts(t); n == before {
		return fmt.Errorf("%d restarts, as before", n)
	}
	return nil
}

// standing waits until every replica is ready, and returns the leader. It reads the pods, because the Deployment's
// status is updated a moment later.
func standing(t *testing.T) harness.Replica {
	t.Helper()
	harness.WaitReady(t, own, "grayscale")
	harness.Eventually(t, "every replica is ready", func() error {
		pods, err := harness.Kube().CoreV1().Pods(own).List(ctx, metav1.ListOptions{LabelSelector: replicas})
		if err != nil {
			return err
		}
		for _, p := range pods.Items {
			for _, c := range p.Status.ContainerStatuses {
				if !c.Ready {
					return fmt.Errorf("pod %s is not", p.Name)
				}
			}
		}
		return nil
	})
	return harness.Leader(t)
}

func end(t *testing.T, r harness.Replica, signal syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(r.PID, signal); err != nil {
		t.Fatalf("%s to pod %s: %v", signal, r.Pod, err)
	}
}
