package main

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestPercentOfGarbage(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{{0, 100}, {1 << 20, 400}, {8 << 20, 150}, {24 << 20, 50}, {64 << 20, 20}, {1 << 30, 20}} {
		if got := percent(c.live); got != c.want {
			t.Errorf("with %d MiB in use: %d%%, want %d%%", c.live>>20, got, c.want)
		}
	}
}

// When the memory in use grows, the next collections adapt the percentage.
func TestPercentFollowsWhatIsInUse(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	collectSooner()
	kept := make([]byte, 128<<20)
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		runtime.GC()
		is := debug.SetGCPercent(100)
		debug.SetGCPercent(is)
		if is == percent(uint64(len(kept))) {
			break
		}
		if time.Since(begin) > 10*time.Second {
			t.Fatalf("%d%% with %d MiB in use", is, len(kept)>>20)
		}
	}
	runtime.KeepAlive(kept)
}
