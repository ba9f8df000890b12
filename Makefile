# Everything a person runs here. Needs Linux, Go, Python 3 with venv and pip, make and git.

SHELL := /bin/bash -eu -o pipefail
.DEFAULT_GOAL := help

TOOLS := $(CURDIR)/.tools/bin
ENVOY_VERSION := 1.40.0
# The version that the lab's API server and kubectl report: the one that test/lab/go.mod requires.
KUBERNETES_VERSION := $(shell sed -n 's/^\tk8s.io\/kubernetes //p' test/lab/go.mod)
LAB_LDFLAGS := -s -w -X k8s.io/component-base/version.gitVersion=$(KUBERNETES_VERSION) \
	-X k8s.io/client-go/pkg/version.gitVersion=$(KUBERNETES_VERSION)
LAB_SOURCES := $(shell find test/lab -type f -not -name '*_test.go')
# No flag here changes how packages are compiled (-trimpath, CGO_ENABLED), so that tests and lint share what is built.
SOURCES := go.mod go.sum $(shell find cmd webhook annotator observe routing -type f -not -name '*_test.go' -not -path '*/testdata/*')

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z][a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 14

.PHONY: demo
demo: lab build ## Play all three strategies on a lab of its own, under load; KEEP=1 leaves it running
	@go run ./hack/demo $(if $(KEEP),-keep)

.PHONY: lab
lab: envoy bin/lab bin/kubectl ## Build bin/lab: API server, controllers, istiod and pods in one binary, bin/kubectl, and put Envoy into .tools

bin/lab: $(LAB_SOURCES)
	@echo "building bin/lab: about 10 minutes the first time, seconds later"
	@go build -C test/lab -ldflags '$(LAB_LDFLAGS)' -o '$(CURDIR)/bin/lab' .

bin/kubectl: $(wildcard test/lab/kubectl/* test/lab/kubectl/alone/*) test/lab/go.mod
	@go build -C test/lab -ldflags '$(LAB_LDFLAGS)' -o '$(CURDIR)/bin/kubectl' ./kubectl/alone

.PHONY: envoy
envoy: ## Put the upstream Envoy into .tools, unless ENVOY=/path/to/envoy names another
	@hack/envoy.sh $(ENVOY_VERSION)

.PHONY: build
build: bin/grayscale ## Build bin/grayscale, a static binary

bin/grayscale: $(SOURCES)
	@CGO_ENABLED=0 go build -ldflags '-s -w' -o $@ ./cmd/grayscale

.PHONY: certmanager
certmanager: bin/certmanager ## Build bin/certmanager: what tests need of cert-manager, in one binary

bin/certmanager: $(wildcard test/certmanager/*)
	@echo "building bin/certmanager: about 2 minutes the first time"
	@go build -C test/certmanager -ldflags '-s -w' -o '$(CURDIR)/$@' .

.PHONY: test
test: lint lab build certmanager $(TOOLS)/gotestsum $(TOOLS)/helm $(TOOLS)/promtool ## Run every check: lint, unit, golden, fuzz seeds, API-server and end-to-end tests
	@hack/test.sh all

.PHONY: test-unit
test-unit: $(TOOLS)/gotestsum $(TOOLS)/helm $(TOOLS)/promtool ## Run the tests that need no lab
	@hack/test.sh unit

.PHONY: test-e2e
test-e2e: lab build certmanager $(TOOLS)/gotestsum $(TOOLS)/helm $(TOOLS)/promtool ## Run the tests on the lab: API-server and end-to-end; RUN=regexp chooses
	@hack/test.sh lab $(if $(RUN),-run '$(RUN)')

.PHONY: soak
soak: lab build ## Rotate the webhook's CA a thousand times under admissions, and simulate for an hour: what a night is for
	@go test ./test/certificates -run 'TestRotations$$' -rotations 1000 -count 1 -timeout 2h -v
	@$(MAKE) --no-print-directory sim FOR=1h SEED=$$(date +%s)

.PHONY: sim
sim: ## Try seeded schedules of acts and faults on a simulated cluster; SEED=n begins there, FOR=10m lasts so long
	@go test ./test/sim -run TestSim -sim.seed=$(or $(SEED),0) -sim.for=$(or $(FOR),1m) -timeout 0 -v

.PHONY: lint
lint: $(TOOLS)/golangci-lint $(TOOLS)/helm $(TOOLS)/actionlint ## Check style, imports between rooms, licences, workflows, and that generated files are up to date
	@$(TOOLS)/golangci-lint run ./...
	@for module in hack/image hack/supply test/gitops; do (cd $$module && $(TOOLS)/golangci-lint run ./...); done
	@hack/lint.sh

.PHONY: bench
bench: lab build $(TOOLS)/benchstat ## Measure the engine, the webhook, and annotation to Envoy on the lab, as ratios to what the machine takes
	@hack/bench.sh

.PHONY: bench-scale
bench-scale: lab build ## Measure 100, 1,000 and 10,000 annotated Deployments, half of them candidates, on the lab's API server; SIZES=100,1000 chooses, BESIDE=path measures another build in turns
	@GRAYSCALE_SCALE='$(SIZES)' GRAYSCALE_SCALE_BESIDE='$(BESIDE)' go test -count 1 -timeout 2h -run '^$$' -bench Scale -benchtime 1x ./test/scale

.PHONY: docs
docs: ## Generate docs/annotations.md from the table of keys, docs/metrics.md from the metrics
	@go run ./hack/docs

.PHONY: manifests
manifests: $(TOOLS)/helm ## Render manifests/base from the Helm chart, manifests/chart
	@go run ./hack/manifests

# What an image and an SBOM say of themselves; the time is that of the sources (https://reproducible-builds.org/specs/source-date-epoch/).
VERSION ?= $(shell git describe --tags --always --dirty)
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct)

.PHONY: image
image: ## Build the image for amd64 and arm64 as an OCI layout, dist/image, and print its digest; VERSION=v1.2.3 names it
	@go run -C hack/supply ./licenses -root '$(CURDIR)' -texts dist/licenses
	@go run -C hack/image . -root '$(CURDIR)' -version '$(VERSION)' -revision "$$(git rev-parse HEAD)" -licenses '$(CURDIR)/dist/licenses'

.PHONY: sbom
sbom: $(TOOLS)/cyclonedx-gomod ## Write dist/sbom.cdx.json, what the binary is made of, in CycloneDX
	@mkdir -p dist
	@CGO_ENABLED=0 GOOS=linux GOARCH=amd64 $(TOOLS)/cyclonedx-gomod app -json -noserial -std -main cmd/grayscale -output dist/sbom.cdx.json . 2>/dev/null
	@go run -C hack/supply ./licenses -root '$(CURDIR)' -sbom dist/sbom.cdx.json

.PHONY: licenses
licenses: ## Check the licences of what the binary is made of, and write their texts to dist/licenses
	@go run -C hack/supply ./licenses -root '$(CURDIR)' -texts dist/licenses

.PHONY: vulncheck
vulncheck: $(TOOLS)/govulncheck ## Look for known vulnerabilities in what the binary calls; needs Go's vulnerability database
	@hack/vulncheck.sh

.PHONY: clean
clean: ## Remove what the other targets made; Go's own cache stays
	@rm -rf bin .tools .lab dist

# All tools come from the versions that hack/tools/go.mod pins.
$(TOOLS)/golangci-lint $(TOOLS)/gotestsum $(TOOLS)/benchstat &: hack/tools/go.mod
	@echo "building golangci-lint, gotestsum and benchstat: about 3 minutes the first time"
	@cd hack/tools && GOBIN='$(TOOLS)' go install tool
	@touch $(TOOLS)/golangci-lint $(TOOLS)/gotestsum $(TOOLS)/benchstat

# What makes the supply chain's papers has a module of its own, so that its versions do not move those of the tools above.
$(TOOLS)/actionlint $(TOOLS)/cyclonedx-gomod $(TOOLS)/govulncheck &: hack/supply/go.mod
	@echo "building actionlint, cyclonedx-gomod and govulncheck: about a minute the first time"
	@cd hack/supply && GOBIN='$(TOOLS)' go install tool
	@touch $(TOOLS)/actionlint $(TOOLS)/cyclonedx-gomod $(TOOLS)/govulncheck

# Helm has a module of its own: its versions of Kubernetes' modules are the lab's, so that the two share what is built.
$(TOOLS)/helm: hack/helm/go.mod
	@echo "building helm: about 2 minutes the first time"
	@cd hack/helm && GOBIN='$(TOOLS)' go install tool
	@touch $@

# Prometheus as well, for the same reason. The tag leaves its service discovery, and the clouds' libraries, out.
$(TOOLS)/promtool $(TOOLS)/selectors &: hack/prometheus/go.mod $(wildcard hack/prometheus/selectors/*.go)
	@echo "building promtool: about 2 minutes the first time"
	@cd hack/prometheus && GOBIN='$(TOOLS)' go install -tags remove_all_sd -ldflags '-s -w' tool
	@touch $(TOOLS)/promtool $(TOOLS)/selectors
