#!/bin/bash
# Looks for known vulnerabilities in what the binary calls, with govulncheck. It needs Go's vulnerability database: the public
# one, or the mirror that GOVULNDB names. Without it nothing was checked, and the exit status is 2.
set -eu -o pipefail
cd "$(dirname "$0")/.."

status=0
said=$(.tools/bin/govulncheck ${GOVULNDB:+-db "$GOVULNDB"} ./cmd/... 2>&1) || status=$?
echo "$said"
case $status in
0) ;;
3) # its status for vulnerabilities that are called
	echo "vulncheck: what is above is called from cmd: update the modules named, or Go" >&2
	exit 1
	;;
*)
	echo "vulncheck: NOTHING WAS CHECKED: govulncheck failed, most likely because the vulnerability database cannot be reached." \
		"Run it where it can, or set GOVULNDB to the URL of a mirror" >&2
	exit 2
	;;
esac
