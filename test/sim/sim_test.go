package sim

import (
	"flag"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

var (
	seed  = flag.Uint64("sim.seed", 0, "the seed to begin with, or to replay")
	lasts = flag.Duration("sim.for", 0, "how long TestSim goes on; 0 takes enough seeds for two million steps")
)

const enough = 2_000_000

// TestSim plays many seeds, and tells the shortest story of the first that breaks a promise.
func TestSim(t *testing.T) {
	begun, next, steps, runs := time.Now(), *seed, 0, 0
	failures := map[uint64]*Failure{}
	var lock sync.Mutex
	take := func() (uint64, bool) {
		lock.Lock()
		defer lock.Unlock()
		next++
		more := steps < enough
		if *lasts > 0 {
			more = time.Since(begun) < *lasts
		}
		return next - 1, more && len(failures) == 0
	}
	inParallel(runtime.GOMAXPROCS(0), func(int) {
		for s, more := take(); more; s, more = take() {
			n, failure := Run(Draw(s))
			lock.Lock()
			if steps, runs = steps+n, runs+1; failure != nil {
				failures[s] = failure
			}
			lock.Unlock()
		}
	})
	for _, s := range slices.Sorted(maps.Keys(failures)) {
		t.Fatalf("seed %d: %v\n%s", s, failures[s], Story(Shrink(Draw(s), *failures[s])))
	}
	t.Logf("%d steps of %d runs, %.0f steps/s", steps, runs, float64(steps)/time.Since(begun).Seconds())
}

// inParallel does so many things, as many at once as there are processors.
func inParallel(n int, do func(int)) {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range n {
		group.Go(func() error { do(i); return nil })
	}
	_ = group.Wait()
}

// TestMain has the garbage of many short runs collected seldom: nothing of it lasts.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}

// TestReplay plays the seed of -sim.seed; with -v it tells what happens.
func TestReplay(t *testing.T) {
	p := Draw(*seed)
	w := play(p, mutation{}, testing.Verbose())
	if w.failure != nil {
		t.Fatalf("%v\n%s", w.failure, Story(Shrink(p, *w.failure)))
	}
	t.Logf("seed %d: %d steps\n%s", *seed, w.steps, strings.Join(w.story, "\n"))
}

// TestSame: a seed gives the same run every time, told or not, and the product changes nothing of what it reads.
func TestSame(t *testing.T) {
	for s := range uint64(20) {
		once, again := play(Draw(s), mutation{}, true), play(Draw(s), mutation{}, true)
		silent := play(Draw(s), mutation{}, false)
		if !slices.Equal(once.story, again.story) || once.steps != again.steps || silent.steps != once.steps {
			t.Fatalf("seed %d: two runs differ", s)
		}
		for _, o := range once.stored {
			if is := textOf(o.object); is != o.text {
				t.Fatalf("seed %d: the product has changed what it has read: it was\n%s\nand is\n%s", s, o.text, is)
			}
		}
	}
}

// TestSettleOutlasts: what the product asks of an administrator holds here, or every failure would be the simulator's.
func TestSettleOutlasts(t *testing.T) {
	if slowest >= settings.Settle {
		t.Fatalf("a change may take %s to reach an Envoy, which is not less than settle, %s", slowest, settings.Settle)
	}
}

// TestShrink: what is left of a plan that fails still fails so, and is short enough to read.
func TestShrink(t *testing.T) {
	m := named("route-at-once")
	for s := uint64(0); ; s++ {
		p := Draw(s)
		w := play(p, m, false)
		if w.failure == nil {
			continue
		}
		small := shrink(p, *w.failure, m)
		if again := play(small, m, false); again.failure == nil || again.failure.Oracle != w.failure.Oracle {
			t.Fatalf("seed %d: fails with %v, and after shrinking with %v", s, w.failure, again.failure)
		}
		if len(small.Acts) > 3 {
			t.Fatalf("seed %d: %d acts are left of %d; one candidate is enough:\n%v",
				s, len(small.Acts), len(p.Acts), small.Acts)
		}
		return
	}
}

func named(name string) mutation {
	for _, m := range mutations {
		if m.name == name {
			return m
		}
	}
	panic("no mutation " + name)
}

// BenchmarkRun plays one seed after the other.
func BenchmarkRun(b *testing.B) {
	for i := range b.N {
		if _, failure := Run(Draw(uint64(i))); failure != nil {
			b.Fatalf("seed %d: %v", i, failure)
		}
	}
}
