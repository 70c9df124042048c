# kvd. The two commands for a fresh machine are `make demo` and `make test`.
GO       ?= go
BIN      := bin
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS  := -X main.version=$(VERSION)
TOOL     := $(GO) tool -modfile=tools/go.mod
SEEDS    ?= 20
DURATION ?= 60s
SEED     ?= 1

.PHONY: help build demo test check lint generate verify-generate sim mutants soak bench bench-etcd cross clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## / — /' | sort

build: ## bin/kvd and bin/kvcli
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/kvd ./cmd/kvcli

demo: build ## a real cluster of three processes that loses a node in the middle of its work
	$(BIN)/kvd demo $(ARGS)

test: build check ## everything that CI runs
	$(GO) test -tags invariants -timeout 15m ./...
	$(MAKE) --no-print-directory mutants

check: lint verify-generate ## formatting, vet, staticcheck, generated code, other platforms
	@$(MAKE) --no-print-directory cross PLATFORMS="linux/arm64 darwin/arm64"

lint:
	@out=$$($(TOOL) gofumpt -l $$(git ls-files -co --exclude-standard '*.go' | grep -v '\.pb\.go$$')); if [ -n "$$out" ]; then echo "not formatted by gofumpt:"; echo "$$out"; exit 1; fi
	$(GO) vet ./...
	$(TOOL) staticcheck ./...

generate: ## regenerate proto/*/*.pb.go
	$(GO) run -C tools ./protogen

verify-generate: ## regenerating gives no difference
	$(GO) run -C tools ./protogen -check

PLATFORMS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64
cross: ## builds for all platforms, without cgo
	@for p in $(PLATFORMS); do \
		CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build -o /dev/null ./cmd/kvd && \
		CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build -o /dev/null ./cmd/kvcli || exit 1; done

sim: build ## SEEDS seeds of DURATION from SEED on
	$(BIN)/kvd sim --seed $(SEED) --seeds $(SEEDS) --duration $(DURATION)

soak: ## real processes under SIGKILL, SIGSTOP, cuts of the network and load: transactions for KVD_SOAK (10m), then single writes
	KVD_SOAK=$${KVD_SOAK:-10m} $(GO) test -timeout 0 -count=1 -v -run '^TestSoak' ./test/chaos

mutants: ## plants every bug of the list and insists that stories and tests show it, and that the simulator catches it
	$(GO) test -tags mutants,invariants ./partition ./txn ./node
	$(GO) test -tags mutants -run TestTestsShowMutants ./mvcc
	$(GO) build -tags mutants -o $(BIN)/kvd-mutants ./cmd/kvd
	$(BIN)/kvd-mutants sim mutants

bench: ## the packages' own benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...

bench-etcd: build ## kvd beside etcd 3.7, three nodes each, on this machine; ARGS="-points transactions", ARGS="-failover 20", ARGS="-idle 10000"
	cd bench/etcd && $(GO) run ./duel -kvd ../../bin/kvd $(ARGS)

clean:
	rm -rf $(BIN)
