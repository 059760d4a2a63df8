# make demo and make test do all of their own set-up.
SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
GO          ?= go
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
CLIENTS     := integration/clients/node_modules/.package-lock.json

.PHONY: build demo test lint unit clients bench-go clean

## build: the binary, in bin/
build:
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/agentproxy ./cmd/agentproxy

## demo: the whole story on this machine alone
demo:
	@CGO_ENABLED=0 $(GO) run -trimpath ./cmd/agentproxy demo

## test: everything: formatting, vet, staticcheck, and all tests with real clients
test: lint unit

lint:
	@echo "gofmt"; out=$$(gofmt -l certs cmd identity integration/*.go integration/chatgpttest proxy signer); \
	  if [ -n "$$out" ]; then echo "not formatted: $$out"; exit 1; fi
	$(GO) mod verify
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

# The race detector needs cgo. A run in which no test ran has failed.
unit: clients
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	CGO_ENABLED=1 $(GO) test -race -count=1 -timeout 10m ./... 2>&1 | tee "$$log"; \
	if ! grep -q '^ok ' "$$log"; then echo "no test ran"; exit 1; fi

## clients: what the end-to-end tests drive: curl, openssl, Python, git, Node 24, Codex
clients: $(CLIENTS)
	@integration/clients/check.sh

$(CLIENTS): integration/clients/package.json integration/clients/package-lock.json
	@integration/clients/install.sh
	cd integration/clients && npm ci --no-fund --no-audit
	@touch $@

clean:
	rm -rf bin integration/clients/node_modules
