package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// room is how much garbage may gather before it is collected, in bytes, or a fifth of what is not garbage where that is
// more. Go by itself lets as much gather as there is in use; but most of what grayscale has in use is bytes in which a
// collection has nothing to follow, so that collecting sooner costs little.
const room = 12 << 20

// collectSooner keeps to it from now on. A percentage alone would not do: a small heap would be collected all the time.
func collectSooner() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}} // 0 before the first collection
	metrics.Read(live)
	debug.SetGCPercent(percent(live[0].Value.Uint64()))
	// What nothing refers to is cleaned up after each collection, when it is time to see how much is in use now.
	runtime.AddCleanup(new([64]byte), func(struct{}) { collectSooner() }, struct{}{})
}

// percent is Go's measure of room: garbage for each hundred bytes in use (https://go.dev/doc/gc-guide#GOGC).
func percent(live uint64) int {
	if live == 0 {
		return 100
	}
	return max(20, min(400, int(room*100/live)))
}
