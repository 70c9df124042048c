# kvd. The two commands for a fresh machine are `make demo` and `make test`.
GO       ?= go
BIN      := bin
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS  := -X main.version=$(VERSION)
TOOL     := $(GO) tool -modfile=tools/go.mod
SEEDS    ?= 20
DURATION ?= 60s
SEED     ?= 1

.PHONY: help build demo test check lint generate verify-generate sim mutants soak bench bench-etcd fuzz cross clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## / — /' | sort

build: ## bin/kvd and bin/kvcli
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/kvd ./cmd/kvcli

demo: build ## a real cluster of three processes that loses a node in the middle of its work
	$(BIN)/kvd demo $(ARGS)

test: build check ## everything that CI runs
	$(GO) test -tags invariants -timeout 12m ./...
	$(MAKE) --no-print-directory mutants-quick

check: lint verify-generate cross ## formatting, vet, staticcheck, generated code, other platforms

lint:
	@out=$$($(TOOL) gofumpt -l $$(git ls-files -co --exclude-standard '*.go' | grep -v '\.pb\.go$$')); if [ -n "$$out" ]; then echo "not formatted by gofumpt:"; echo "$$out"; exit 1; fi
	$(GO) vet ./...
	$(TOOL) staticcheck ./...
	cd bench/etcd && $(GO) vet ./...

generate: ## regenerate proto/*/*.pb.go
	cd tools && $(GO) run ./protogen -root ..

verify-generate: generate
	@git diff --exit-code -- '*.pb.go' || { echo "generated code is not up to date: run make generate and commit"; exit 1; }

cross: ## builds for the other platforms, without cgo
	@for p in linux/amd64 linux/arm64 darwin/amd64 darwin/arm64; do \
		CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build -o /dev/null ./cmd/kvd && \
		CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build -o /dev/null ./cmd/kvcli || exit 1; done

sim: build ## SEEDS seeds of DURATION from SEED on
	$(BIN)/kvd sim --seed $(SEED) --seeds $(SEEDS) --duration $(DURATION)

mutants: ## plants every bug of the list and insists that the simulator catches it
	$(GO) build -tags 'mutants invariants' -o $(BIN)/kvd-mutants ./cmd/kvd
	$(BIN)/kvd-mutants sim mutants

bench: ## the packages' own benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...

bench-etcd: build ## kvd beside etcd 3.7, three nodes each, on this machine; ARGS="-failover 20", ARGS="-idle 10000"
	cd bench/etcd && $(GO) run ./duel -kvd ../../bin/kvd $(ARGS)

clean:
	rm -rf $(BIN)
