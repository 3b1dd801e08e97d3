# umbra. Nothing but Go is needed.

GO      ?= go
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION)
# Each fuzz target's time; `make fuzz` gives each ten minutes, CI ten seconds.
FUZZTIME ?= 10m
# How many random runs against a fault-injecting server `make torture` plays; CI 50. UMBRA_TORTURE_SEED gives the first one's seed.
N       ?= 1000

# How many runs each proof on the embedded mesh takes.
PROOFS  ?= 20

.PHONY: run build captures test race lint bench oracle e2e e2e-embedded e2e-reports e2e-cluster prove calibrate fuzz torture cross clean

run: build ## play the main job on the embedded mesh: ends with a verdict on a 10 % mirror
	bin/umbra run scenarios/examples/canary-10.yaml

build: ## bin/umbra
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/umbra ./cmd/umbra

captures: ## the small captures that some examples replay
	$(GO) run ./scenarios/examples/captures scenarios/examples

test: ## every test, once more with the race detector where things run concurrently
	$(GO) test ./...

race:
	$(GO) test -race ./internal/app ./internal/traffic ./internal/host ./replay/... ./cluster/... ./scenarios ./capture/...

lint: ## gofmt, go vet, staticcheck, at the versions of go.mod
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

bench: build ## Go benchmarks, then umbra and its peers side by side (replay/bench/README.md)
	$(GO) test -run '^$$' -bench . -benchmem ./...
	$(GO) run ./replay/bench
	$(GO) run ./capture/bench
	$(GO) run ./cluster/bench

oracle: ## captures of nginx with curl, wrk and h2load, as umbra and as tshark read them; needs those, and root
	UMBRA_ORACLE=1 $(GO) test -count=1 -timeout 10m -v ./capture/oracle ./capture -run 'Tshark|Live'

e2e: e2e-embedded e2e-reports e2e-cluster ## every example and every fault, by the real command, on both meshes, and the reports

e2e-embedded: build
	$(GO) test -count=1 -tags e2e -timeout 30m -v ./cmd/umbra -run '^TestE2E'

e2e-reports: ## report.html in a real browser, the others by the tools that read them; what is missing of these is told, and in CI fails. UMBRA_PICTURES=DIR keeps pictures
	$(GO) test -count=1 -tags e2e -timeout 20m -v ./reports ./internal/summary -run '^TestE2E'

e2e-cluster: build ## on kind with Istio; needs a container engine, and UMBRA_* where no image can be pulled
	$(GO) test -count=1 -tags e2e -timeout 30m -v ./cluster -run '^TestE2E'
	UMBRA_E2E=1 $(GO) test -count=1 -timeout 10m -v ./cluster/internal/node -run 'LifeOfACluster|LeavesNothing|RealEngine'

prove: build ## the experiments with all their controls and every kind of bad shadow, on both meshes: about 75 minutes
	UMBRA_PROVE=$(PROOFS) $(GO) test -count=1 -tags e2e -timeout 60m -v ./cmd/umbra -run '^TestE2EProve'
	UMBRA_PROVE=1 $(GO) test -count=1 -tags e2e -timeout 90m -v ./cluster -run '^TestProve'

fuzz: ## each fuzz target for FUZZTIME
	.ci/fuzz $(FUZZTIME)

torture: ## N random runs against a server with every fault: every request accounted for, by its own ledger
	UMBRA_TORTURE=$(N) $(GO) test -count=1 -timeout 60m -run '^TestTorture$$' -v ./replay

calibrate: ## how often the verdicts on impact are wrong, in 10,000 made-up experiments a row: half an hour on 2 cores
	$(GO) run ./internal/impact/calibrate -o internal/impact/calibration.md

cross: ## the other platforms that umbra builds for
	GOOS=linux GOARCH=arm64 CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/umbra
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/umbra

clean:
	rm -rf bin
