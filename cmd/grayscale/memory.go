package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// garbageLimit is how much garbage, in bytes, may accumulate before a collection. The limit is at least a fifth and at
// most four times of what is in use. Go's default is as much as is in use. Collecting sooner costs little here, because
// most of grayscale's memory has no pointers for the collector to follow.
const garbageLimit = 12 << 20

// collectSooner applies garbageLimit from now on. A fixed percentage would not do: a small heap would be collected all
// the time.
func collectSooner() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}} // 0 before the first collection
	metrics.Read(live)
	debug.SetGCPercent(percent(live[0].Value.Uint64()))
	// The cleanup of an unreachable object runs after the next collection, which has measured what is in use by then.
	runtime.AddCleanup(new([64]byte), func(struct{}) { collectSooner() }, struct{}{})
}

// percent is garbageLimit as Go measures it: garbage for each hundred bytes in use (https://go.dev/doc/gc-guide#GOGC).
func percent(live uint64) int {
	if live == 0 {
		return 100
	}
	return max(20, min(400, int(garbageLimit*100/live)))
}
