#!/bin/bash
# Runs tests through gotestsum and prints one last line "N passed, N failed".
#   hack/test.sh all|unit|lab [go test flags]
# "lab" are the packages whose tests import test/harness: each starts a lab of its own. AT_ONCE=n runs n of them at a time.
# What has passed is not run again before something changed that it depends on (go clean -testcache forgets that).
set -eu -o pipefail
cd "$(dirname "$0")/.."

packages() { # packages unit|lab; test/bench and test/scale measure, they test nothing
	go list -f '{{.ImportPath}} {{.TestImports}} {{.XTestImports}}' ./... |
		awk -v want="$1" '{ path = $1; $1 = "" }
			path ~ /\/test\/(bench|scale)$/ { next }
			(index($0, "grayscale.dev/grayscale/test/harness") > 0) == (want == "lab") { print path }'
}

at_once() { # how many labs two processors carry, by the engine's own benchmark: it takes 18 us where the targets of make bench hold
	nanoseconds=$(go test ./routing -run '^$' -bench 'Decide/nothing' -benchtime 5000x -count 3 | awk '/ns\/op/ { print int($3) }' | sort -n | head -1)
	# On a slower machine an open-loop load may not recover from what the other labs take.
	if [ "$nanoseconds" -lt 25000 ]; then echo 4; else echo 2; fi
}

if [ "${1:-}" = --stream ]; then # what gotestsum runs: JSON on stdout, everything even after a failure
	shift
	what=$1
	shift
	unit=$(packages unit)
	lab=$(packages lab)
	[ -n "$unit" ] && [ -n "$lab" ] # a mistake in the list must not pass for tests that passed
	status=0
	if [ "$what" != lab ]; then
		# shellcheck disable=SC2086 # one word per package
		go test -json -timeout 10m "$@" $unit || status=1
		go test -C test/lab -json -timeout 15m "$@" ./... || status=1
		go test -C hack/supply -json -timeout 10m "$@" ./... || status=1
		go test -C hack/image -json -timeout 20m "$@" ./... || status=1 # compiles the product for both architectures
	fi
	if [ "$what" != unit ]; then
		labs=${AT_ONCE:-$(at_once)}
		# Of another module's files Go does not notice a change: this one is always run.
		gitops() { go test -C test/gitops -json -parallel 3 -count 1 -timeout 20m "$@" ./...; }
		if [ "$labs" -gt 2 ]; then # beside the others; its stream comes later, as long lines of two would mix
			gitops "$@" >.tools/gitops.json &
		fi
		# shellcheck disable=SC2086
		go test -json -p "$labs" -parallel 3 -timeout 40m "$@" $lab || status=1
		if [ "$labs" -gt 2 ]; then
			wait $! || status=1
			cat .tools/gitops.json
		else
			gitops "$@" || status=1
		fi
	fi
	exit $status
fi

if [ "${1:-}" = --ended ]; then # what gotestsum runs after them: what the failed ones said, in short, as the end of a log is read first
	awk 'match($0, /"Test":"[^"]*"/) {
			test = substr($0, RSTART + 8, RLENGTH - 9)
			if (/"Action":"fail"/) failed[test] = 1
			else if (match($0, /"Output":" *[a-z_]+\.go:[0-9]+: /)) said[test] = said[test] "\n" substr($0, RSTART + 10, 240)
		}
		END { for (test in failed) print "--- " test substr(said[test], 1, 1000) }' "$GOTESTSUM_JSONFILE"
	echo "$((TESTS_TOTAL - TESTS_FAILED - TESTS_SKIPPED)) passed, $((TESTS_FAILED + TESTS_ERRORS)) failed"
	exit
fi

what=${1:?all, unit or lab}
exec .tools/bin/gotestsum --format pkgname-and-test-fails --hide-summary=skipped,output --jsonfile .tools/tests.json \
	--post-run-command "$0 --ended" --raw-command -- "$0" --stream "$@"
