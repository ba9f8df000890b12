#!/bin/bash
# Finds known vulnerabilities in the code that the binary calls, with govulncheck. It needs Go's vulnerability database:
# the public one, or the one that GOVULNDB names. If the public one cannot be reached, it uses the module that the
# database is made from, which comes from the Go module proxy and is a few days old. Without any of them nothing is
# checked, and the exit status is 2.
set -eu -o pipefail
cd "$(dirname "$0")/.."

check() { # [database]; 3 is govulncheck's status for vulnerabilities that are called
	status=0
	said=$(.tools/bin/govulncheck ${1:+-db "$1"} ./cmd/... 2>&1) || status=$?
}

check "${GOVULNDB:-}"
if [ -z "${GOVULNDB:-}" ] && [ $status != 0 ] && [ $status != 3 ]; then
	echo "vulncheck: the public database did not answer; taking golang.org/x/vulndb, which it is made from" >&2
	files=$(go mod download -json golang.org/x/vulndb@latest | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
	check "file://$files/data/osv" # https://go.dev/doc/security/vuln/database#schema: one OSV file for each
fi
echo "$said"
case $status in
0) ;;
3)
	echo "vulncheck: what is above is called from cmd: update the modules named, or Go" >&2
	exit 1
	;;
*)
	echo "vulncheck: NOTHING WAS CHECKED: govulncheck failed, most likely because no vulnerability database can be reached." \
		"Run it where one can, or set GOVULNDB to the URL of a mirror" >&2
	exit 2
	;;
esac
