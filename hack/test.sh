#!/bin/bash
# Runs tests through gotestsum and prints one last line "N passed, N failed".
#   hack/test.sh all|unit|lab [go test flags]
# "lab" are the packages whose tests import test/harness: each starts its own lab. AT_ONCE=n runs n of them at a time.
# "all" also runs "unit" at the same time.
# A test that passed does not run again until one of its dependencies changes (go clean -testcache resets this).
set -eu -o pipefail
cd "$(dirname "$0")/.."

packages() { # packages unit|lab; test/bench and test/scale only measure
	go list -f '{{.ImportPath}} {{.TestImports}} {{.XTestImports}}' ./... |
		awk -v want="$1" '{ path = $1; $1 = "" }
			path ~ /\/test\/(bench|scale)$/ { next }
			(index($0, "grayscale.dev/grayscale/test/harness") > 0) == (want == "lab") { print path }'
}

# at_once prints how many labs two processors can run, by the engine's own benchmark. It takes 18 us on a machine that
# reaches the targets of make bench.
at_once() {
	nanoseconds=$(go test ./routing -run '^$' -bench 'Decide/nothing' -benchtime 5000x -count 3 | awk '/ns\/op/ { print int($3) }' | sort -n | head -1)
	# On a slower machine an open-loop load may not recover from the CPU time that the other labs take.
	if [ "$nanoseconds" -lt 25000 ]; then echo 4; else echo 2; fi
}

unit() { # unit [go test flags]; lint runs go vet, except for test/lab, which it skips
	status=0
	# shellcheck disable=SC2046 # one word per package
	go test -json -vet=off -timeout 40m "$@" $(packages unit) || status=1
	go test -C test/lab -json -timeout 40m "$@" ./... || status=1
	go test -C hack/supply -json -vet=off -timeout 40m "$@" ./... || status=1
	go test -C hack/image -json -vet=off -timeout 40m "$@" ./... || status=1 # compiles the product for both architectures
	return $status
}

labs() { # labs [go test flags]; the longest run first, so that the last ones are short
	all=$(packages lab && echo grayscale.dev/grayscale/test/gitops)
	longest='/test/(faults|e2e|chart|gitops|ha)$'
	(grep -E "$longest" <<<"$all" && grep -Ev "$longest" <<<"$all") | xargs -P "$AT_ONCE" -I PACKAGE "$0" --lab PACKAGE "$@"
}

# One package on its own lab. Its output is printed at the end, because long lines of two packages would mix.
if [ "${1:-}" = --lab ]; then
	shift
	stream=.tools/${1##*/}.json
	case $1 in
	*/test/gitops) where="-C test/gitops -count 1" ;; # always run: Go does not notice changes in another module's files
	*) where= ;;
	esac
	status=0
	# shellcheck disable=SC2086
	go test $where -json -vet=off -parallel 5 -timeout 40m "${@:2}" "$1" >"$stream" || status=1
	flock .tools cat "$stream"
	exit $status
fi

if [ "${1:-}" = --stream ]; then # what gotestsum runs: JSON on stdout, everything even after a failure
	shift
	what=$1
	shift
	[ -n "$(packages unit)" ] && [ -n "$(packages lab)" ] # an empty list is a mistake, not a success
	status=0
	[ "$what" = unit ] || export AT_ONCE="${AT_ONCE:-$(at_once)}" # before anything else takes the processors
	case $what in
	unit) unit "$@" || status=1 ;;
	lab) labs "$@" || status=1 ;;
	all)
		# Labs mostly wait. Unit tests get the processors when no lab needs them.
		(renice -n 19 "$BASHPID" >/dev/null && unit "$@") >.tools/unit.json &
		labs "$@" || status=1
		wait $! || status=1
		cat .tools/unit.json
		;;
	esac
	exit $status
fi

# gotestsum runs this at the end. It prints a summary of the failures, because people read the end of a log first.
if [ "${1:-}" = --ended ]; then
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
