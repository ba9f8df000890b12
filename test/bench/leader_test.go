package bench

import (
	"syscall"
	"testing"
	"time"

	"grayscale.dev/grayscale/test/harness"
)

// BenchmarkHandover: from SIGTERM to the leader to the next leader's first route. What it writes was asked for as soon
// as the lease was released. The pod is not deleted: the lab starts another one at once, and its process would ask for
// the lease before the replica that stands by.
func BenchmarkHandover(b *testing.B) {
	follow(b, func(leader harness.Replica) {
		before := harness.LeaseHolder(b)
		if err := syscall.Kill(leader.PID, syscall.SIGTERM); err != nil {
			b.Fatal(err)
		}
		for begun := time.Now(); harness.LeaseHolder(b) == before; {
			if time.Since(begun) > harness.Patience {
				b.Fatalf("%s does not release the lease", leader.Pod)
			}
		}
	})
}

// BenchmarkCrash: from SIGKILL to the leader to the next leader's first route.
func BenchmarkCrash(b *testing.B) {
	follow(b, func(leader harness.Replica) {
		if err := syscall.Kill(leader.PID, syscall.SIGKILL); err != nil {
			b.Fatal(err)
		}
	})
}

// follow measures from before the leader's end to the VirtualService with a weight that is set right after it.
func follow(b *testing.B, end func(leader harness.Replica)) {
	b.Helper()
	r := newRelease(b)
	written := watchRoutes(b, r.ns, "web-grayscale")
	percent := 1
	r.weight(b, percent) // the first share waits until the candidate's endpoints have settled
	r.programmed(b, percent)
	harness.WaitReady(b, "grayscale-system", "grayscale")
	leader := harness.Leader(b)
	measure(b, func() {
		percent = percent%98 + 2
		end(leader)
		r.weight(b, percent)
		written(percent)
	}, func() {
		r.programmed(b, percent)
		time.Sleep(standby)
		harness.WaitReady(b, "grayscale-system", "grayscale")
		leader = harness.Leader(b)
	})
}

// standby is how long a killed pod's next process may take to be noticed as unready, started and waiting for the lease.
const standby = 10 * time.Second
