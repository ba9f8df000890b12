#!/bin/bash
# Measures the engine and the webhook (ns/op, allocations), then, on the lab, annotation to VirtualService and to Envoy at
# the lab's debounce and at Istio's own. COUNT=200 changes how many changes are measured. Results stay in .lab/bench.
set -eu -o pipefail
cd "$(dirname "$0")/.."
count=${COUNT:-100}
mkdir -p .lab/bench

echo "== engine and webhook"
go test -run '^$' -bench . -benchmem ./routing/... ./webhook/... | grep -v 'no test files' | tee .lab/bench/code.txt
for debounce in 10ms 100ms; do
	echo "== on the lab, istiod's debounce $debounce, $count changes each"
	export GRAYSCALE_BENCH_DEBOUNCE=$debounce
	{
		go test -count 1 -timeout 30m -run '^$' -bench 'Annotate|Abort' -benchtime "${count}x" ./test/bench
		go test -count 1 -timeout 30m -run '^$' -bench Adoption -benchtime 10x ./test/bench
	} | tee ".lab/bench/lab-$debounce.txt"
done
echo "== on the lab, from the leader's end to the next leader's first route"
{
	go test -count 1 -timeout 30m -run '^$' -bench Handover -benchtime 10x ./test/bench
	go test -count 1 -timeout 30m -run '^$' -bench Crash -benchtime 5x ./test/bench
} | tee .lab/bench/leader.txt
echo "== debounce 10ms against 100ms"
.tools/bin/benchstat .lab/bench/lab-10ms.txt .lab/bench/lab-100ms.txt
