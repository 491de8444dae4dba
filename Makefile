# Penstock's build. `make help` lists what there is; everything a target needs
# beyond Go itself is built or installed by the target.

MAKEFLAGS += --no-print-directory
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO    ?= go
BIN   ?= bin
TOOLS := bin/tools

# The date is the commit's, not the clock's: the same source gives the same
# binaries, and an unchanged tree links nothing anew.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
DATE    ?= $(shell git show -s --format=%cI HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.built=$(DATE)

# What `make test` runs: PKG chooses packages, TESTFLAGS adds flags of go test.
PKG          ?= ./...
TESTFLAGS    ?=
TEST_TIMEOUT ?= 40m
# How often each fuzz target of `make fuzz` runs.
FUZZTIME     ?= 200000x
# How long `make chaos` kills, and how many messages pass meanwhile: 2000 a
# second when empty, and never fewer than 200000.
CHAOS_DURATION ?= 10m
CHAOS_MESSAGES ?=
# Arguments of the benchmark: make bench ARGS='-h'.
ARGS         ?=
# The file of an earlier `make bench ARGS='-json FILE'` that `make bench-report`
# takes instead of measuring anew.
FROM         ?=
# Which tests run in the guest of `make test-cgroup2`, as go test's -run has it.
GUEST_RUN    ?=

PROTO_OUT := rpc/runnerpb rpc/sharepb

# The modules beside the main one and that of the tools; of these, the runners
# with upstream's components; and what of upstream's is written by us.
RUNNERS := cmd/penstock-runner-messaging cmd/penstock-runner-connect
MODULES := integration/brokers integration/chaos docs/examples/custom-runner $(RUNNERS)
OWN_OF_CONNECT := $(addprefix github.com/redpanda-data/connect/v4/,internal/impl/protobuf/common internal/serviceaccount)

##@ Use

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} \
		/^##@ / {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the static binaries into bin/
	@mkdir -p $(BIN)
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/penstock ./cmd/penstock-launch ./cmd/penstock-runner

# The runners with upstream's components are modules of their own, so that none
# of what they link is compiled for the rest. They are found beside penstock.
.PHONY: build-messaging
build-messaging: connect-source ## Build bin/penstock-runner-messaging: brokers, queues, databases
	@$(BUILD_RUNNER)

.PHONY: build-connect
build-connect: connect-source ## Build bin/penstock-runner-connect: everything; minutes, the first time
	@$(BUILD_RUNNER)

# build-NAME makes penstock-runner-NAME of cmd/penstock-runner-NAME.
BUILD_RUNNER = mkdir -p $(BIN) && CGO_ENABLED=0 $(GO) -C cmd/penstock-runner-$(@:build-%=%) build -trimpath -ldflags '$(LDFLAGS)' -o '$(abspath $(BIN))/' .

# The part of Redpanda Connect that is under Apache-2.0, in bin/connect.
.PHONY: connect-source
connect-source:
	@$(GO) -C tools run ./connect ..

# exec: the shell makes way, so that signals reach the server itself.
.PHONY: run
run: build ## Serve the example streams on 127.0.0.1:4195 until Ctrl-C
	@exec $(BIN)/penstock serve --data-dir .penstock --set timeouts.shutdown=5s --set orphan_timeout=15s -r 'configs/resources/*.yaml' -t 'configs/templates/*.yaml' configs/examples

.PHONY: clean
clean: ## Remove bin/ and the data of `make run`
	@rm -rf bin .penstock

##@ Prove

# The runners that the tests start are made before them, outside their timeout:
# on empty caches they take minutes.
.PHONY: test
test: $(TOOLS)/gotestsum build-messaging build-connect ## Run every test with the race detector; PKG, TESTFLAGS narrow it
	@scripts/ensure-cc.sh
	@scripts/ensure-servers.sh
	@mkdir -p bin
	@CGO_ENABLED=1 $(TOOLS)/gotestsum --format standard-quiet --hide-summary=output --jsonfile bin/test.json -- \
		-race -shuffle=on -timeout $(TEST_TIMEOUT) $(TESTFLAGS) $(PKG)

.PHONY: test-cgroup2
test-cgroup2: ## Run the tests of cgroup v2 in an emulated machine; GUEST_RUN narrows it
	@scripts/cgroup2-guest.sh '$(GUEST_RUN)'

.PHONY: fuzz
fuzz: ## Run every fuzz target FUZZTIME (200000x, 1m)
	@scripts/fuzz.sh $(FUZZTIME)

.PHONY: chaos
chaos: export CHAOS_DURATION := $(CHAOS_DURATION)
chaos: export CHAOS_MESSAGES := $(CHAOS_MESSAGES)
chaos: ## Kill runners and supervisors under load for CHAOS_DURATION (10m), and count the messages
	@$(GO) test -count=1 -timeout 0 -v -run '^TestChaos$$' ./integration

.PHONY: bench
bench: ## Measure against the bare engine, and hold the figures against the goals
	@$(GO) run ./integration/bench $(ARGS)

.PHONY: bench-report
bench-report: ## The same, into docs/benchmarks.md with plots; FROM=FILE takes the figures of -json
	@mkdir -p $(BIN)
	@$(GO) run ./integration/bench -report docs/benchmarks.md $(if $(FROM),-from '$(FROM)',-json $(BIN)/bench.json) $(ARGS)

.PHONY: check
check: check-format check-modules check-house check-proto check-licenses check-platforms check-lint check-vulns ## Prove every rule of the house
	@echo "check: all rules hold"

# The parts of check. None needs a C compiler, and none is stopped by other
# uncommitted work in the tree.
check-%: export CGO_ENABLED := 0

.PHONY: check-format
check-format:
	@echo "check: gofmt"
	@files=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go' | while read -r f; do [ -e "$$f" ] && echo "$$f"; done)); \
	if [ -n "$$files" ]; then echo "not formatted, run gofmt -w on:"; echo "$$files"; exit 1; fi

# The tools' own go.mod is not compared with `go mod tidy`, which would need
# the test dependencies of every linter; building the tools proves it complete.
.PHONY: check-modules
check-modules: connect-source
	@echo "check: go.mod"
	@$(GO) mod tidy -diff || { echo "go.mod or go.sum is not tidy: run go mod tidy"; exit 1; }
	@for dir in $(MODULES); do $(GO) -C $$dir mod tidy -diff || { echo "$$dir/go.mod is not tidy: run go -C $$dir mod tidy"; exit 1; }; done

.PHONY: check-house
check-house:
	@echo "check: imports and files"
	@$(GO) -C tools vet ./connect ./house ./licenses
	@$(GO) -C tools test ./connect ./house ./licenses
	@$(GO) -C tools run ./house ..

.PHONY: check-proto
check-proto: $(TOOLS)/buf $(TOOLS)/protoc-gen-go $(TOOLS)/protoc-gen-go-grpc
	@echo "check: protobuf"
	@$(TOOLS)/buf lint
	@tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	$(TOOLS)/buf generate --output "$$tmp"; \
	for out in $(PROTO_OUT); do \
		diff -ru "$$tmp/$$out" $$out || { echo "$$out is not what its .proto generates: run make proto"; exit 1; }; \
	done

.PHONY: check-licenses
check-licenses: connect-source
	@echo "check: licences"
	@$(GO) -C tools run ./licenses -check THIRD_PARTY_LICENSES.md ..

# The runners with upstream's components are lists of imports. That each of these
# exists for the other platforms is proved without compiling them, which would
# take longer than all the rest; the files of ours among them are vetted, with
# what the compiler has made of their imports for the runners.
.PHONY: check-platforms
check-platforms: connect-source
	@echo "check: go vet, and builds for darwin and linux/arm64"
	@$(GO) vet ./...
	@GOOS=darwin GOARCH=arm64 $(GO) build -o /dev/null ./...
	@GOOS=linux GOARCH=arm64 $(GO) build -o /dev/null ./...
	@$(GO) -C cmd/penstock-runner-messaging vet -trimpath $(OWN_OF_CONNECT)
	@for dir in $(RUNNERS); do for os in darwin linux; do GOOS=$$os GOARCH=arm64 $(GO) -C $$dir list -deps . >/dev/null; done; done

.PHONY: check-lint
check-lint: $(TOOLS)/golangci-lint
	@echo "check: golangci-lint"
	@$(TOOLS)/golangci-lint config verify
	@$(TOOLS)/golangci-lint run ./...
	@cd integration/chaos && ../../$(TOOLS)/golangci-lint run --config ../../.golangci.yml ./...
	@cd integration/brokers && ../../$(TOOLS)/golangci-lint run --config ../../.golangci.yml ./...
	@cd docs/examples/custom-runner && ../../../$(TOOLS)/golangci-lint run --config ../../../.golangci.yml ./...
	@cd tools && ../$(TOOLS)/golangci-lint run --config ../.golangci.yml ./connect ./house/... ./licenses/...

.PHONY: check-vulns
check-vulns: $(TOOLS)/govulncheck connect-source
	@echo "check: known vulnerabilities"
	@scripts/vulns.sh $(abspath $(TOOLS)/govulncheck) $(RUNNERS)

##@ Generate

.PHONY: proto
proto: $(TOOLS)/buf $(TOOLS)/protoc-gen-go $(TOOLS)/protoc-gen-go-grpc ## Lint the .proto files and generate their Go code
	@$(TOOLS)/buf lint
	@$(TOOLS)/buf generate

.PHONY: licenses
licenses: connect-source ## Write THIRD_PARTY_LICENSES.md anew
	@$(GO) -C tools run ./licenses -write THIRD_PARTY_LICENSES.md ..

.PHONY: tools
tools: $(addprefix $(TOOLS)/,buf golangci-lint gotestsum govulncheck protoc-gen-go protoc-gen-go-grpc) ## Build the pinned tools into bin/tools

# Each tool is built once, from the versions in tools/go.mod.
$(TOOLS)/buf:                 TOOL := github.com/bufbuild/buf/cmd/buf
$(TOOLS)/golangci-lint:       TOOL := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(TOOLS)/gotestsum:           TOOL := gotest.tools/gotestsum
$(TOOLS)/govulncheck:         TOOL := golang.org/x/vuln/cmd/govulncheck
$(TOOLS)/protoc-gen-go-grpc:  TOOL := google.golang.org/grpc/cmd/protoc-gen-go-grpc

$(TOOLS)/buf $(TOOLS)/golangci-lint $(TOOLS)/gotestsum $(TOOLS)/govulncheck $(TOOLS)/protoc-gen-go-grpc: tools/go.mod tools/go.sum
	@echo "building $(@F)"
	@mkdir -p $(TOOLS)
	@CGO_ENABLED=0 $(GO) -C tools build -ldflags '-s -w' -o ../$@ $(TOOL)

# protoc-gen-go comes from the main module: the code it generates then always
# fits the protobuf runtime it is linked with.
$(TOOLS)/protoc-gen-go: go.mod go.sum
	@echo "building $(@F)"
	@mkdir -p $(TOOLS)
	@CGO_ENABLED=0 $(GO) build -ldflags '-s -w' -o $@ google.golang.org/protobuf/cmd/protoc-gen-go
	@touch $@
