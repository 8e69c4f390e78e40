# Byway. `make help` lists the targets. Everything below needs Go, and fetches what it needs from Go's module proxy.

.DEFAULT_GOAL := help
SHELL := /bin/bash
GO ?= go

# Tools are pinned here and run from the module cache, so that they stay out of go.mod.
GOLANGCI := $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
BUF := $(GO) run github.com/bufbuild/buf/cmd/buf@v1.75.0
GOVULNCHECK := $(GO) run golang.org/x/vuln/cmd/govulncheck@v1.9.0
GOTESTSUM := $(GO) run gotest.tools/gotestsum@v1.13.0

FUZZTIME ?= 30s
TESTFLAGS ?=
# The race detector needs a C compiler; without one the tests run all the same.
RACE := $(if $(shell command -v $${CC:-gcc}),-race)
INTEROP := docs/interop

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | expand -t 12

.PHONY: build
build: ## bin/rendezvous and bin/byway, static and reproducible
	@echo "building (with a cold cache this takes some minutes)"
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/rendezvous ./cmd/byway

.PHONY: demo
demo: build ## a rendezvous and two peers on this machine show the whole job and leave nothing behind
	@bin/byway demo

.PHONY: test
test: setup ## every test: race detector, random order; ends with what was skipped, and why
	@$(if $(RACE),,echo "no C compiler: running without the race detector";) echo "building first, so that no test shares its time with a compiler (with a cold cache this takes some minutes)"
	$(GO) build ./cmd/...
	$(GO) build $(RACE) ./...
	@if $(GOTESTSUM) --version >/dev/null 2>&1; then run="$(GOTESTSUM) --format pkgname --format-hide-empty-pkg --"; \
	else run="$(GO) test"; echo "gotestsum cannot be fetched: what is skipped is not listed"; fi; \
	set -x; $$run $(RACE) -shuffle=on -timeout 20m $(TESTFLAGS) ./...

.PHONY: race
race: setup ## the tests three times over, to shake out what happens rarely
	$(GO) test -race -shuffle=on -count=3 -timeout 60m ./...

.PHONY: bubble
bubble: ## many peers with faults, in virtual time
	$(GO) test $(RACE) -shuffle=on -count=1 ./peer/delivery/... ./peer/peertest/...

.PHONY: fault
fault: ## the real programs under faults: killed, cut off from power, full disks, failing calls, bad links (root; 2 minutes)
	BYWAY_FAULT=short $(GO) test -count=1 -v -parallel 4 -timeout 10m ./cmd/byway/fault | grep --line-buffered -vE '^=== '; exit $${PIPESTATUS[0]}

.PHONY: fault-long
fault-long: ## the same with 1,000 kills, 300 power cuts and 100,000 messages, and a table of what was lost (root; 15 minutes)
	BYWAY_FAULT=long $(GO) test -count=1 -v -parallel 4 -timeout 4h ./cmd/byway/fault | grep --line-buffered -vE '^=== '; exit $${PIPESTATUS[0]}

.PHONY: lab
lab: ## the way between two peers in each pair of networks, found in namespaces, against the one that must be found, and ways that are cut (root; 5 minutes; LAB=short: 1)
	BYWAY_LAB=$(or $(LAB),long) $(GO) test -count=1 -v -parallel 4 -timeout 10m $(TESTFLAGS) ./cmd/byway/natlab | grep --line-buffered -vE '^ *(=== |--- PASS)'; exit $${PIPESTATUS[0]}

# Go's fuzzer now and then takes the end of its time for a failure, says nothing but "context deadline exceeded" and keeps no input: that target is
# fuzzed again. An input that fails is kept in testdata, and fails again.
.PHONY: fuzz
fuzz: ## every fuzz target, FUZZTIME=30s each
	@set -e; grep -rlE '^func Fuzz' --include='*_test.go' . | sort | while read -r file; do \
	  for target in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' "$$file"); do \
	    echo "$$file $$target"; \
	    for try in 1 2 3; do \
	      out=$$($(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5x "./$$(dirname "$$file")" 2>&1) && break; \
	      [ $$try != 3 ] && grep -qE '^ +context deadline exceeded$$' <<<"$$out" && ! grep -q 'Failing input' <<<"$$out" \
	        || { echo "$$out"; exit 1; }; \
	    done; \
	  done; \
	done

# What make bench does: everything, BENCHCOUNT times; with SHORT=1 once, with small sizes. BENCH picks by a pattern, as go test -bench does.
BENCH ?= .
BENCHCOUNT ?= $(if $(SHORT),1,5)
BENCHTIME ?= $(if $(SHORT),1s,3s)

.PHONY: bench
bench: ## every benchmark, some 25 minutes; SHORT=1: 2 minutes. bin/bench.txt is for benchstat, bin/bench.md the tables
	@mkdir -p bin
	@set -o pipefail; { \
	  $(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -benchtime $(if $(SHORT),100ms,1s) -count $(BENCHCOUNT) -p 1 \
	    $$($(GO) list ./... | grep -v '/measure$$') | sed -E '/no test files|^(PASS|ok )/d' && \
	  $(GO) test ./cmd/byway/measure -run '^$$' -bench '$(BENCH)' -benchtime 1x -count $(BENCHCOUNT) -timeout 2h $(if $(SHORT),-short) \
	    -span $(BENCHTIME) -table "$$PWD/bin/bench.md"; \
	} 2>&1 | tee bin/bench.txt
	@echo "the tables are in bin/bench.md; compare two runs: go run golang.org/x/perf/cmd/benchstat@latest OLD bin/bench.txt"

.PHONY: fmt
fmt: ## format the code
	$(GOLANGCI) fmt

.PHONY: lint
lint: ## formatting, go vet, golangci-lint
	@test -z "$$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -l | tee /dev/stderr)"
	$(GO) vet ./...
	$(GOLANGCI) run

.PHONY: vuln
vuln: ## known vulnerabilities in what is called (needs the vulnerability database)
	$(GOVULNCHECK) ./...

.PHONY: gen
gen: ## the Go code of the wire messages
	cd rendezvous && $(BUF) lint && $(BUF) generate

.PHONY: check
check: ## what CI runs: lint, a short fuzz of every parser, every test, the short faults and networks
	$(MAKE) lint
	$(MAKE) fuzz FUZZTIME=2s
	$(MAKE) test
	$(MAKE) fault
	$(MAKE) lab LAB=short

.PHONY: clean
clean: ## remove what was built
	rm -rf bin $(INTEROP)/node_modules

# What the tests need besides Go: the independent opener of envelopes runs on Node, where there is one.
.PHONY: setup
setup: $(if $(shell command -v npm),$(if $(wildcard $(INTEROP)/package-lock.json),$(INTEROP)/node_modules/.ready))

$(INTEROP)/node_modules/.ready: $(INTEROP)/package-lock.json
	npm ci --prefix $(INTEROP) --ignore-scripts --no-audit --no-fund
	@touch $@
