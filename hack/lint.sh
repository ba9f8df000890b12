#!/bin/bash
# The checks that golangci-lint does not make. Each prints what is wrong and what to do.
set -eu -o pipefail
cd "$(dirname "$0")/.."

go run ./hack/docs -check
go run ./hack/manifests -check
go mod tidy -diff >/dev/null || {
	echo "go.mod or go.sum is not tidy: run go mod tidy" >&2
	exit 1
}
go run -C hack/supply ./licenses -root ../..
.tools/bin/actionlint
# A tag of somebody else's repository can be moved: a commit cannot.
if git grep --untracked -nE 'uses: ' -- .github/workflows | grep -vE 'uses: [^@ ]+@[0-9a-f]{40} # v[0-9.]+$'; then
	echo "an action is not pinned: name it by its commit, and its version in a comment" >&2
	exit 1
fi
# The lab's module is vetted with its tests (hack/test.sh); golangci-lint would type-check all of Kubernetes and Istio.
unformatted=$(gofmt -l test/lab test/certmanager test/gitops hack)
[ -z "$unformatted" ] || {
	echo "not formatted, run gofmt -w on: $unformatted" >&2
	exit 1
}
# Deliberately no test may be skipped: a test that cannot run has to say why it failed.
if git grep --untracked -nE '\b[tb]\.Skip(f|Now)?\(' -- '*_test.go' 'test/harness'; then
	echo "a skipped test proves nothing: let it fail with what is missing" >&2
	exit 1
fi
# Only one table spells the keys: code that needs a key takes it from routing/intent.
if git grep --untracked -nE '"grayscale\.dev/' -- 'cmd/*.go' 'webhook/*.go' 'annotator/*.go' 'observe/*.go' 'routing/*.go' ':!routing/intent' ':!*_test.go' |
	grep -v '"grayscale\.dev/grayscale[/"]'; then
	echo 'a key is named outside routing/intent: use its constant there' >&2
	exit 1
fi
