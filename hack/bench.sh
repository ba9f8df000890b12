#!/bin/bash
# Measures the engine and the webhook next to a JSON decode of a Deployment. Then, on the lab, it measures the webhook
# in a crowded namespace, and the time from an annotation to the VirtualService and to Envoy, at the lab's debounce and
# at Istio's own, next to the same writes by a bare client. Figures that are compared within one run are ratios.
# COUNT=200 sets how many changes are measured. Results stay in .lab/bench.
set -eu -o pipefail
cd "$(dirname "$0")/.."
count=${COUNT:-100}
mkdir -p .lab/bench

echo "== engine and webhook"
go test -run '^$' -bench . -benchmem ./routing/... ./webhook/... | grep -v 'no test files' | tee .lab/bench/code.txt
echo "== on the lab, the webhook in a namespace with 1,000 other Deployments, and with 1,000 pods, as ratios to an empty one"
go test -count 1 -timeout 30m -run '^$' -bench Admission -benchtime 1000x ./test/scale | tee .lab/bench/admission.txt
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
