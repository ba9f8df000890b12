#!/bin/bash
# Runs tests through gotestsum and prints one last line "N passed, N failed".
#   hack/test.sh all|unit|lab [go test flags]
# "lab" are the packages whose tests import test/harness: each starts a lab of its own. AT_ONCE=n runs n of them at a time. "all" runs
# "unit" beside them.
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

unit() { # unit [go test flags]; go vet is lint's, but for test/lab, which lint leaves out
	status=0
	# shellcheck disable=SC2046 # one word per package
	go test -json -vet=off -timeout 40m "$@" $(packages unit) || status=1
	go test -C test/lab -json -timeout 40m "$@" ./... || status=1
	go test -C hack/supply -json -vet=off -timeout 40m "$@" ./... || status=1
	go test -C hack/image -json -vet=off -timeout 40m "$@" ./... || status=1 # compiles the product for both architectures
	return $status
}

labs() { # labs [go test flags]: those that take longest first, so that the last ones are short
	all=$(packages lab && echo grayscale.dev/grayscale/test/gitops)
	longest='/test/(faults|e2e|chart|gitops|ha)$'
	(grep -E "$longest" <<<"$all" && grep -Ev "$longest" <<<"$all") | xargs -P "$AT_ONCE" -I PACKAGE "$0" --lab PACKAGE "$@"
}

if [ "${1:-}" = --lab ]; then # one package on a lab of its own; its stream comes at its end, as long lines of two would mix
	shift
	stream=.tools/${1##*/}.json
	case $1 in
	*/test/gitops) where="-C test/gitops -count 1" ;; # of another module's files Go does not notice a change: this one is always run
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
	[ -n "$(packages unit)" ] && [ -n "$(packages lab)" ] # a mistake in the list must not pass for tests that passed
	status=0
	[ "$what" = unit ] || export AT_ONCE="${AT_ONCE:-$(at_once)}" # before anything else takes the processors
	case $what in
	unit) unit "$@" || status=1 ;;
	lab) labs "$@" || status=1 ;;
	all)
		# Labs mostly wait. What needs no lab gets the processors when no lab wants them.
		(renice -n 19 "$BASHPID" >/dev/null && unit "$@") >.tools/unit.json &
		labs "$@" || status=1
		wait $! || status=1
		cat .tools/unit.json
		;;
	esac
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
