# redlockd: build, run, test and check. `make` lists what there is.
# Needs Go, and for tests with the race detector a C compiler; everything else
# is pinned in tools/go.mod and built from there.

SHELL      := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

SEEDS      ?= 200
FUZZTIME   ?= 60s
FUZZSHORT  ?= 20s
TEST_TIME  ?= 10m
MINUTES    ?= 60
PACKAGES   ?= ./...
TOOL       := go tool -modfile=tools/go.mod

# The race detector needs cgo and a C compiler; without them the tests run
# without it, and say so.
RACE := $(shell [ "$$(go env CGO_ENABLED)" = 1 ] && command -v "$$(go env CC | cut -d' ' -f1)" >/dev/null 2>&1 && echo -race)

##@ Every day

.PHONY: help
help: ## List the targets.
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build ./bin/redlockd.
	go build -trimpath -o bin/ ./cmd/redlockd

.PHONY: run
run: ## Serve on 127.0.0.1:7379 with data in ./redlockd-data; ARGS="--listen ..." adds flags.
	go run ./cmd/redlockd $(ARGS)

.PHONY: cluster
cluster: build ## Run three nodes on 127.0.0.1:7379 to 7381 until ctrl-C, data in ./redlockd-data/cluster; ARGS="..." adds flags.
	@tools/cluster.sh $(ARGS)

.PHONY: test
test: ## Run all tests with the race detector; needs Go alone. PACKAGES=./fsm runs one package's.
	@[ -n "$(RACE)" ] || echo "no C compiler here: the tests run without the race detector"
	go test $(RACE) -timeout $(TEST_TIME) $(PACKAGES)

.PHONY: generate
generate: ## Write the generated pages in docs/ anew (tests fail when they are stale).
	go generate ./...

.PHONY: fmt
fmt: ## Format all Go code (gofumpt, imports in groups).
	$(TOOL) golangci-lint fmt

##@ Before a commit

.PHONY: check
check: tidy vet lint vuln test sim perturbed faults fuzz-short ## Everything that CI runs: tidy, vet, lint and formatting, vuln, test, a short fuzz.

.PHONY: lint
lint: ## Lint and check the formatting (golangci-lint; the first run builds it, two minutes or so).
	$(TOOL) golangci-lint run $(PACKAGES)

.PHONY: vet
vet: ## Run go vet.
	go vet ./...

.PHONY: tidy
tidy: ## Check that go.mod and go.sum name just what is needed.
	go mod tidy -diff
	go mod verify

.PHONY: vuln
vuln: ## Look for known vulnerabilities in what we call (passes with a word where the database is out of reach).
	tools/vuln.sh

.PHONY: fuzz-short
fuzz-short: ## Run each fuzz target for FUZZSHORT (20s).
	tools/fuzz.sh $(FUZZSHORT)

##@ Now and then

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (60s).
	tools/fuzz.sh $(FUZZTIME)

.PHONY: sim
sim: ## Run SEEDS (200) simulated clusters of ten virtual minutes under faults, from seed FIRST (1); SEED=n shows one. Those that fail keep their logs.
	LOCKTEST_TRACE=1 LOCKTEST_SEEDS=$(SEEDS) LOCKTEST_FIRST=$(FIRST) LOCKTEST_SEED=$(SEED) go test $(SIMFLAGS) -count=1 -timeout 0 -v -run TestSim ./tests/sim | \
		{ grep -v -E '^ *(=== |--- PASS)' || true; }

.PHONY: perturbed
perturbed: ## Run SEEDS (60) simulated clusters whose goroutines pause at random, Raft's too (tests/perturb).
	@flags=$$(go run ./tests/perturb -out tests/out/perturb) && \
		$(MAKE) --no-print-directory sim SIMFLAGS="$$flags" SEEDS=$(if $(filter-out file,$(origin SEEDS)),$(SEEDS),60)

.PHONY: faults
faults: ## Two minutes of faults on real nodes, and 15 s of hostile clients: what CI runs of tests/fault, alone.
	go test -count=1 -timeout 20m ./tests/fault/...

.PHONY: chaos
chaos: ## Kill, freeze, cut off and fill real nodes under load for MINUTES (60); SEED=n repeats a run.
	LOCKTEST_MINUTES=$(MINUTES) LOCKTEST_SEED=$(SEED) go test -count=1 -timeout $$(($(MINUTES) + 30))m -v -run TestFaults ./tests/fault

.PHONY: soak
soak: ## Two minutes of hostile clients: the server stays under 256 MB, an honest client's p99 within 50 ms of its own.
	LOCKTEST_SOAK=2m LOCKTEST_SOAK_P99=50ms go test -count=1 -timeout 15m -v -run TestHostileSoak ./tests/fault

.PHONY: canaries
canaries: ## Switch on one bug at a time and show which test catches it; CANARIES="-only batch_gap" runs one.
	go run ./tests/canaries $(CANARIES)

.PHONY: e2e
e2e: ## Run the tests over TCP against a real process, redis-cli and go-redis.
	go test $(RACE) -count=1 -timeout $(TEST_TIME) -v ./tests/...

.PHONY: cluster-tests
cluster-tests: ## Run all tests of three nodes, also those that take long (15 minutes); RUN=TestMinority runs one.
	LOCKTEST_LONG=1 go test $(RACE) -count=1 -timeout 40m -v -run '$(RUN)' ./tests/cluster

.PHONY: readme
readme: ## Run the session of the README and compare what it prints.
	.ci/readme

.PHONY: bench
bench: ## Measure LOCK and UNLOCK over loopback, beside redis-server where it is installed; BENCH="..." adds flags.
	go run ./tests/bench $(BENCH)

.PHONY: cover
cover: ## Write coverage to bin/cover.html and print the total.
	@mkdir -p bin
	go test -timeout $(TEST_TIME) -coverpkg=./... -coverprofile=bin/cover.out ./...
	go tool cover -html=bin/cover.out -o bin/cover.html
	go tool cover -func=bin/cover.out | tail -n 1

.PHONY: clean
clean: ## Remove what was built (never ./redlockd-data).
	rm -rf bin dist tests/out
