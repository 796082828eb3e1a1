# Targets are printed by make alone. Tools that are not there are installed into
# .cache/bin, at the versions below.
GO       ?= go
BIN      := $(CURDIR)/bin
TOOLS    := $(CURDIR)/.cache/bin
FAULT_RUNS ?= 200
KILLS      ?= 1000
KILL_SEED  ?= 0
VERSION  ?= 0.1.0-dev
PLUGINS  := http cron exec file log
FUZZTIME ?= 50000x

GOLANGCI   := v2.15.0
BUF        := v1.75.0
GEN_GO     := v1.36.12
GEN_GRPC   := v1.6.2
GEN_CONNECT := v1.21.1

.PHONY: help build run test race fault lint fuzz bench bench-events bench-reload bench-neighbours generate check clean tools-lint tools-generate node

help:
	@echo 'make build         bin/host and bin/plugins/{$(shell echo $(PLUGINS) | tr " " ",")}'
	@echo 'make run           build, then the quickstart: a webhook, a program, a file and a clock'
	@echo 'make test          all tests'
	@echo 'make race          all tests with the race detector'
	@echo 'make fault         the daemon killed at every step of a reload, FAULT_RUNS ($(FAULT_RUNS)) times, and KILLS ($(KILLS)) plugins;'
	@echo '                   a manager that was taken over for ten minutes, 100,000 swapped executables, 50 kills under load'
	@echo 'make lint          go vet and golangci-lint'
	@echo 'make fuzz          each fuzz target FUZZTIME ($(FUZZTIME)) times; or for as long, such as 10m'
	@echo 'make bench         Go benchmarks'
	@echo 'make bench-events  events per second beside naive go-plugin and a bare relay'
	@echo 'make bench-reload  what clients notice of a reload, beside nginx and Caddy; BENCH_RELOAD are its flags'
	@echo 'make bench-neighbours  what a plugin that misbehaves does to the others; BENCH_NEIGHBOURS are its flags'
	@echo 'make generate      the generated code from the .proto files, and the reference in README.md'
	@echo 'make check         everything that .ci/run does but the installation'

# Without cgo a binary needs no library of the machine that it runs on, and starts
# faster: each command and each plugin process is a start. Users and groups are those
# of /etc/passwd and /etc/group then.
build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-X main.version=$(VERSION)' -o $(BIN)/host ./cmd/host
	@mkdir -p $(BIN)/plugins
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BIN)/plugins/ $(addprefix ./plugins/,$(PLUGINS))

run: build
	@echo
	@echo 'host runs the configuration in testdata/quickstart. When it says ready, try in another terminal:'
	@echo
	@echo "  curl -i -d '{\"id\":\"o-1\",\"total\":12}' http://127.0.0.1:8080/orders"
	@echo '  bin/host status -c testdata/quickstart'
	@echo '  bin/host events tail -c testdata/quickstart'
	@echo
	@echo 'An order with the id fail or hang does that. Ctrl-C drains and ends it.'
	@echo
	@exec $(BIN)/host run -c testdata/quickstart

test: node
	$(GO) test -timeout 15m ./...

# The daemon ended with SIGKILL at every arrow of a transaction (half of the runs
# as two processes: the manager, the spawner, or both), then plugin processes
# killed and stopped under load. FAULT_SEED=N and KILL_SEED=N repeat a
# run.
fault:
	FAULT_RUNS=$(FAULT_RUNS) $(GO) test -timeout 60m -count 1 -v -run TestKilledAtEveryArrow ./host
	$(GO) test -timeout 60m -count 1 -v -run TestKilledPlugins ./host -kills $(KILLS) -kill-seed $(KILL_SEED)
	$(GO) test -timeout 60m -count 1 -v -run '^(TestCompromisedManager|TestSwappedExecutable)$$' ./host/spawner/server -attack 10m -swaps 100000
	$(GO) test -timeout 60m -count 1 -v -run '^TestManagerIsKilled$$' ./cmd/host -kills 50 -rate 2000

race: node
	$(GO) test -race -timeout 20m ./...

# The test of a plugin in another language needs Node. Where it is missing the
# test is left out, loudly; with CI=true that is a failure.
node:
	@if command -v node >/dev/null && command -v npm >/dev/null; then \
		[ -d testdata/node/node_modules ] && [ testdata/node/node_modules -nt testdata/node/package-lock.json ] || \
		{ (cd testdata/node && npm ci --omit=dev --no-audit --no-fund --loglevel=error) && touch testdata/node/node_modules; }; \
	elif [ "$$CI" = true ]; then echo '*** node and npm are missing: install Node 20'; exit 1; \
	else echo '*** MISSING: node and npm. The test of the plugin in testdata/node is left out.'; fi

lint: tools-lint
	$(GO) vet ./...
	$(TOOLS)/golangci-lint run ./...

tools-lint:
	@[ -x $(TOOLS)/golangci-lint ] || GOBIN=$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI)

# By count: a run by time can end as failed (context deadline exceeded) when its
# time is over in the middle of an input. Nothing is made smaller, which would take
# most of a short run.
fuzz:
	@set -e; for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$(GO) test -fuzz ^$$target\$$ -fuzztime $(FUZZTIME) $$pkg"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 0x $$pkg; \
		done; done

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...

bench-events: build
	CGO_ENABLED=0 $(GO) build -o $(BIN)/bench-events ./cmd/bench-events
	$(BIN)/bench-events -host $(BIN)/host

# nginx and Caddy are Debian's. As root what is missing is installed, else the
# benchmark says what is. A quick run of about a minute:
#   make bench-reload BENCH_RELOAD='-for 3s -rates 2000 -cases replaced,killed -sizes 10,1000'
bench-reload: build
	@for p in nginx caddy; do command -v $$p >/dev/null || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "apt-get install$$missing"; apt-get install -y --no-install-recommends $$missing >/dev/null; \
	fi
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BIN)/bench-reload ./cmd/bench-reload
	$(BIN)/bench-reload -host $(BIN)/host -plugins $(BIN)/plugins $(BENCH_RELOAD)

# As root: a file system is made for what fills it, in a namespace of its own.
bench-neighbours: build
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BIN)/bench-neighbours ./cmd/bench-neighbours
	$(BIN)/bench-neighbours -host $(BIN)/host -plugins $(BIN)/plugins $(BENCH_NEIGHBOURS)

generate: tools-generate
	PATH=$(TOOLS):$$PATH buf generate sdk/wire --path sdk/wire/plugin.proto --template '{"version":"v2","plugins":[{"local":"protoc-gen-go","out":"sdk/wire","opt":"module=github.com/pluginhost/host/sdk/wire"},{"local":"protoc-gen-go-grpc","out":"sdk/wire","opt":"module=github.com/pluginhost/host/sdk/wire"}]}'
	PATH=$(TOOLS):$$PATH buf generate host/control --path host/control/control.proto --template '{"version":"v2","plugins":[{"local":"protoc-gen-go","out":"host/control","opt":"module=github.com/pluginhost/host/host/control"},{"local":"protoc-gen-connect-go","out":"host/control","opt":"module=github.com/pluginhost/host/host/control"}]}'
	gofmt -w sdk/wire/internal host/control/internal
	$(GO) test ./cmd/host -run '^TestReadmeReference$$' -update

tools-generate:
	@[ -x $(TOOLS)/buf ] || GOBIN=$(TOOLS) $(GO) install github.com/bufbuild/buf/cmd/buf@$(BUF)
	@[ -x $(TOOLS)/protoc-gen-go ] || GOBIN=$(TOOLS) $(GO) install google.golang.org/protobuf/cmd/protoc-gen-go@$(GEN_GO)
	@[ -x $(TOOLS)/protoc-gen-go-grpc ] || GOBIN=$(TOOLS) $(GO) install google.golang.org/grpc/cmd/protoc-gen-go-grpc@$(GEN_GRPC)
	@[ -x $(TOOLS)/protoc-gen-connect-go ] || GOBIN=$(TOOLS) $(GO) install connectrpc.com/connect/cmd/protoc-gen-connect-go@$(GEN_CONNECT)

check: test lint race fuzz

clean:
	rm -rf bin state testdata/node/node_modules testdata/quickstart/orders.log
