# make demo and make test do all of their own set-up.
SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
GO          ?= go
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
VULNDB      := v0.0.0-20261105234957-e22db6528018
NFPM        := github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2
GORELEASER  := github.com/goreleaser/goreleaser/v2@v2.15.1
CYCLONEDX   := github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
# The validated module that make fips builds with.
FIPS_MODULE := v1.0.0
# What make build says the binary is, without a release's tag the commit alone.
VERSION     ?= $(shell git describe --tags --exact-match 2>/dev/null)
COMMIT      ?= $(shell git describe --always --dirty --abbrev=12 --exclude='*' 2>/dev/null || echo unknown)
DATE        ?= $(shell git show -s --format=%cs 2>/dev/null || date -u +%F)
# Debian's version: between two releases the day and the commit.
DEB_VERSION  = $(if $(VERSION),$(patsubst v%,%,$(VERSION)),0~$(subst -,,$(DATE)).$(subst -dirty,,$(COMMIT)))
# The package whose variables the linker sets.
CLI         := github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli
# The same source gives the same bytes: nothing in them is of the directory, the
# machine or the time.
BUILD       := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '-s -w -X $(CLI).version=$(VERSION) -X $(CLI).commit=$(COMMIT)'
# Nothing else is seen while the dependencies are compiled.
BUILDING    := echo 'building agentproxy; the first time, when Go fetches and compiles its modules, takes two minutes or more' >&2
# Compilers, linkers and vet would spend a tenth of their time on collecting garbage. The
# tests that they are run for know nothing of this.
TOOLS       := '-toolexec=env GOGC=off GOMEMLIMIT=500MiB'
# What is compiled so is compiled once, for the linters and for the tests that
# need no race detector, as the binary is.
ONCE         = CGO_ENABLED=0 GOFLAGS="$$($(GO) env GOFLAGS) -trimpath $(TOOLS)"
# Nobody debugs what is compiled with the race detector.
DETECTOR     = CGO_ENABLED=1 GOFLAGS="$$($(GO) env GOFLAGS) $(TOOLS) -gcflags=all=-dwarf=false"
# How tests report: make test has them do it in JSON.
JSON        ?=
INMEMORY    := integration/inmemory.sh
CLIENTS     := integration/clients/node_modules/.package-lock.json
# Debian's Caddy is of 2022. What this one has for keeping certificates in databases is
# left out.
CADDY       := github.com/caddyserver/caddy/v2/cmd/caddy@v2.11.9
CADDY_BIN   := integration/clients/bin/caddy
# The newest that speaks to the Docker of Debian 12.
COMPOSE     := github.com/docker/compose/v2@v2.40.3
COMPOSE_BIN := integration/clients/bin/docker-compose
SOCKETS     := integration/websockets/node_modules/.package-lock.json
TRAEFIK_BIN := integration/clients/bin/traefik

.PHONY: build fips man completions deb release-check release-try demo test lint vet staticcheck unit unit-plain processes integration test-deploy test-fips test-vectors conformance kubernetes garden attacks soak scanners portable stranger gateways websockets verifiers test-codex engines bench pictures vuln vuln-offline sbom clients clean

## build: the binary, in bin/; the same commit and Go version give the same bytes
build:
	@$(BUILDING)
	$(BUILD) -o bin/agentproxy ./cmd/agentproxy

## fips: bin/agentproxy-fips, which runs in FIPS 140-3 mode
fips:
	GOFIPS140=$(FIPS_MODULE) $(BUILD) -o bin/agentproxy-fips ./cmd/agentproxy

## man: the manual pages, in bin/man/, dated as the commit
man:
	rm -rf bin/man && mkdir -p bin/man
	GOOS= GOARCH= CGO_ENABLED=0 $(GO) run -trimpath -buildvcs=false -tags man ./cmd/agentproxy man bin/man $(DATE)

## completions: for bash, zsh, fish and PowerShell, in bin/completions/
completions:
	mkdir -p bin/completions
	for shell in bash zsh fish powershell; do \
	  GOOS= GOARCH= CGO_ENABLED=0 $(GO) run -trimpath -buildvcs=false ./cmd/agentproxy completion $$shell > bin/completions/agentproxy.$$shell; done

## deb: the Debian package, in bin/; the same commit gives the same bytes
deb: build man completions
	rm -rf bin/deb && mkdir -p bin/deb/man
	for page in bin/man/*; do gzip -9nc "$$page" > "bin/deb/man/$${page##*/}.gz"; done
	printf 'agentproxy (%s) stable; urgency=medium\n\n  * See https://github.com/agentproxy/agentproxy/releases\n\n -- %s  %s\n' \
	  '$(DEB_VERSION)' 'agentproxy maintainers <maintainers@agentproxy.invalid>' "$$(date -uR -d '$(DATE)')" | gzip -9n > bin/deb/changelog.gz
	SOURCE_DATE_EPOCH=$$(date -u -d '$(DATE)' +%s) ARCH=$$($(GO) env GOARCH) VERSION='$(DEB_VERSION)' \
	  GOOS= GOARCH= $(GO) run $(NFPM) package --config deploy/nfpm.yaml --packager deb --target bin/

## release-check: look at the release's configuration, vet for macOS and what make test does not; takes minutes
release-check:
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 $(GO) vet ./cmd/...
	cd integration/deploy && CGO_ENABLED=0 $(GO) vet ./...
	$(GO) run $(GORELEASER) check

## release-try: all files of a release, in dist/; publishes nothing
release-try:
	$(GO) run $(GORELEASER) release --snapshot --clean

## demo: bin/agentproxy, and the whole story on this machine alone
demo:
	@$(BUILDING)
	@$(BUILD) -o bin/agentproxy ./cmd/agentproxy
	@bin/agentproxy demo

## test: everything: formatting, vet, staticcheck, and all tests with real clients; the last line counts them
test:
	@GO='$(GO)' integration/test.sh

# What is neither integration nor unit, which take longest and wait most: those get the
# processors first.
BESIDE      := nice -n 5

lint: vet staticcheck

# The build tags of single targets. vet sets all of them, and looks once: what is dear is to
# look at the dependencies.
TAGS        := attacks,codexmatrix,engines,garden,gateways,portable,scanners,verifiers,websockets

vet:
	@echo "gofmt"; out=$$(gofmt -l $$(git ls-files '*.go')); \
	  if [ -n "$$out" ]; then echo "not formatted: $$out"; exit 1; fi
	$(GO) mod verify
	$(ONCE) $(GO) vet -tags $(TAGS) ./...

# It spends a third of its time on collecting garbage.
staticcheck:
	$(ONCE) GOGC=400 $(BESIDE) $(GO) run $(STATICCHECK) ./...

# What the race detector makes many times dearer, and has little to find in: tools of ours
# that compute on one goroutine, make load or start programs, and tests of files that
# processes share. make soak has it look at them too.
PLAIN       := ./integration/scale ./integration/bench ./integration/testsummary
PROCESSES   := ^Test(Kill|Soak)$$
# What unit does less of than unit-plain does, because of the race detector, to which
# TestLighterRunsWhole holds the list. It looks at some sessions of a terminal, whose
# programs are the detector's too. Of authz it leaves out what is compiled with Envoy's types,
# whose goroutines are not ours.
LIGHTER     := ^Test(WebSocket.*|SSETurns|GzipTurns|Floods|UploadsTakeTurns|RevocationCuts|CutByGrounds|ProfilesShareNoConnection|BodyIsNotKept|IdleStack|UpgradedStack|Script)$$
SCRIPTS     := ^TestScript$$/^(serve|run|login|request)$$

# The race detector needs cgo, and has each of fifty programs sleep for a second when it
# ends, unless it is told not to. vet has looked at them. Many tests wait more than they work. What
# takes longest is first.
unit:
	GORACE=atexit_sleep_ms=0 $(DETECTOR) $(INMEMORY) $(GO) test -race -vet=off -count=1 -timeout 20m -p 3 -parallel 4 -skip '$(PROCESSES)|^TestScript$$' $(JSON) ./proxy ./identity/agent \
	  $$($(GO) list ./... | grep -Ev '/integration(/scale|/bench|/testsummary)?$$')
	$(DETECTOR) $(INMEMORY) $(GO) test -race -vet=off -count=1 -timeout 20m -run '$(SCRIPTS)' $(JSON) ./cmd/agentproxy

unit-plain:
	$(ONCE) $(BESIDE) $(GO) test -vet=off -count=1 -timeout 20m $(JSON) $(PLAIN) ./authz
	$(ONCE) $(BESIDE) $(INMEMORY) $(GO) test -vet=off -count=1 -timeout 20m -run '$(LIGHTER)' $(JSON) ./proxy ./proxy/usage ./cmd/agentproxy

# Processes that share files, and are killed.
processes:
	$(ONCE) $(BESIDE) $(INMEMORY) $(GO) test -vet=off -count=1 -timeout 20m -run '$(PROCESSES)' $(JSON) ./identity/agent

## soak: under the race detector, what make test runs without it, and for five minutes (FOR=5m) what breaks exchanges off, all at once
soak:
	CGO_ENABLED=1 $(GO) test -race -vet=off -count=1 -timeout 30m $(PLAIN) ./cmd/agentproxy
	CGO_ENABLED=1 $(GO) test -race -vet=off -count=1 -timeout 30m -v -run '$(PROCESSES)' ./identity/agent -identity.soak 2m -identity.kills 1000
	CGO_ENABLED=1 $(GO) test -race -vet=off -count=1 -timeout 0 -v -run '^TestSoakExchanges$$' ./proxy -soak $(or $(FOR),5m)

# These tests drive the built program, in which the detector sees no race, and wait more
# than they work.
integration: clients
	$(ONCE) $(INMEMORY) $(GO) test -vet=off -count=1 -timeout 20m -parallel 8 $(JSON) ./integration

# The chart, the images and Compose's file, by a module of their own. Vet would look at all
# of Kubernetes for four files: make release-check has it do so.
test-deploy:
	cd integration/deploy && $(ONCE) $(BESIDE) $(GO) test -vet=off -count=1 $(JSON) ./...

# What does cryptography, in FIPS 140-3 mode, whose source of entropy measures time: it
# fails where a test fakes that before anything else has asked for random bytes. What
# kills hundreds of processes says nothing of cryptography.
test-fips:
	GODEBUG=fips140=on $(ONCE) $(BESIDE) $(INMEMORY) $(GO) test -vet=off -count=1 -timeout 10m -skip '^Test(BackendIsSlow|Kill|Soak)$$' $(JSON) ./certs ./identity/... ./signer

# What identity does with Wycheproof's vectors, by a module of its own.
test-vectors:
	cd integration/conformance && $(ONCE) $(BESIDE) $(GO) test -count=1 $(JSON) ./wycheproof

## conformance: the Connect project's suite for Connect, gRPC and gRPC-Web through the proxy; takes minutes
conformance: test-vectors
	cd integration/conformance && CGO_ENABLED=0 $(GO) test -count=1 -timeout 30m -v ./connect

## kubernetes: tokens that Kubernetes' own code makes, shown to the exchange; takes minutes
kubernetes:
	cd integration/kubernetes && CGO_ENABLED=0 $(GO) test -count=1 -timeout 10m -v ./...

## garden: what leaves the proxy, read by a dozen servers of Debian's; needs root and Debian
garden: $(CLIENTS)
	@integration/clients/need.sh haproxy=haproxy varnishd=varnish h2o=h2o traffic_server=trafficserver squid=squid apache2=apache2 \
	  lighttpd=lighttpd gunicorn=gunicorn javac=default-jdk-headless python:aiohttp=python3-aiohttp python:tornado=python3-tornado python:waitress=python3-waitress
	$(GO) test -tags garden -count=1 -timeout 20m -v -run '^Test(Garden|Varnishtest)' ./integration

## scanners: testssl.sh, sslscan and slowhttptest of Debian's against the proxy; needs root and Debian, takes minutes
scanners: $(CLIENTS)
	@integration/clients/need.sh testssl=testssl.sh sslscan=sslscan slowhttptest=slowhttptest
	$(GO) test -tags scanners -count=1 -timeout 20m -v -run '^Test(Testssl|Sslscan|SlowHTTP)$$' ./integration

## attacks: what clients and strangers can do to use up memory, places or time, each for a minute (EACH=1m), beside 50 clients in a cgroup of 256 MiB; prints a table
attacks:
	$(GO) test -count=1 -v -run '^TestProfilesShareNoConnection$$' ./proxy -exchanges 1700
	$(GO) test -tags attacks -count=1 -timeout 60m -v -run '^TestAttacks$$' ./integration

## engines: real Docker, Compose and Podman do what docs/sidecar.md says; needs root and Debian, takes minutes
engines: $(CLIENTS) $(COMPOSE_BIN)
	@integration/engines/install.sh
	$(GO) test -tags engines -count=1 -timeout 40m -run '^Test(Docker|Podman)$$' -v ./integration

# It is no module that go install takes: its own go.mod has more to say.
$(COMPOSE_BIN): Makefile
	dir=$$($(GO) mod download -json $(COMPOSE) | sed -n 's/.*"Dir": "\(.*\)".*/\1/p') && \
	  CGO_ENABLED=0 $(GO) build -C "$$dir" -trimpath -buildvcs=false -ldflags '-s -w -X github.com/docker/compose/v2/internal.Version=$(lastword $(subst @, ,$(COMPOSE)))' \
	  -o "$(CURDIR)/$@" ./cmd

## gateways: Traefik and Caddy, built from their modules, run deploy/traefik and deploy/caddy; takes minutes
gateways: $(CLIENTS) $(TRAEFIK_BIN) $(CADDY_BIN)
	$(GO) test -tags gateways -count=1 -timeout 10m -v -run '^Test(RealTraefik|NewCaddy)$$' ./integration

$(CADDY_BIN): Makefile
	$(ONCE) GOBIN=$(CURDIR)/$(@D) $(GO) install -tags nobadger,nomysql,nopgx -ldflags '-s -w' $(CADDY)
	@touch $@

$(TRAEFIK_BIN): $(wildcard integration/traefik/go.* integration/traefik/build.sh integration/traefik/stubs/*/*)
	@mkdir -p $(@D)
	GO='$(GO)' integration/traefik/build.sh $@

## websockets: ws, undici, Firefox and python3-websockets against a torture server; needs root and Debian
websockets: $(CLIENTS) $(SOCKETS)
	@integration/clients/need.sh firefox-esr=firefox-esr python:websockets=python3-websockets
	$(GO) test -tags websockets -count=1 -timeout 10m -v -run '^TestWebSocket(All)?Clients$$' ./integration

$(SOCKETS): integration/websockets/package.json integration/websockets/package-lock.json
	cd integration/websockets && npm ci --no-fund --no-audit
	@touch $@

## verifiers: Java and Firefox are shown what a thief of the CA's key makes; needs root and Debian
verifiers: $(CLIENTS)
	@integration/clients/need.sh firefox-esr=firefox-esr javac=default-jdk-headless
	$(GO) test -tags verifiers -count=1 -timeout 10m -v -run '^TestStolenKey' ./integration

## portable: demo, check and run for arm64 under qemu and for Windows under Wine, and go vet for others; needs Debian, takes minutes
portable:
	@integration/clients/need.sh qemu-aarch64=qemu-user wine64=wine64 x86_64-w64-mingw32-gcc=gcc-mingw-w64-x86-64-win32
	for os in darwin freebsd windows; do GOOS=$$os CGO_ENABLED=0 $(GO) vet ./... || exit; done
	$(GO) test -tags portable -count=1 -timeout 20m -v -run '^Test(ARM64|Windows)$$' ./integration

## stranger: README's first ten minutes on a fresh Debian with empty caches and a network of its own; needs root and Debian
stranger: $(CLIENTS)
	@integration/clients/need.sh debootstrap=debootstrap slirp4netns=slirp4netns
	integration/stranger/run.sh

## test-codex: VERSIONS of Codex through the proxy, fetched from npm; takes minutes, and a gigabyte for four
VERSIONS      ?= 0.121.0 0.125.0 0.130.0 0.143.0 0.150.1 0.166.0 0.171.0
CODEX_MATRIX  := $(CURDIR)/integration/clients/node_modules/.matrix
test-codex: clients
	@mkdir -p "$(CODEX_MATRIX)"
	npm install --prefix "$(CODEX_MATRIX)" --no-save --no-package-lock --no-fund --no-audit \
	  $(foreach v,$(VERSIONS),codex-$(v)@npm:@openai/codex@$(v)-linux-x64)
	$(GO) vet -tags codexmatrix ./integration
	CODEX_MATRIX="$(CODEX_MATRIX)" CODEX_VERSIONS="$(VERSIONS)" $(GO) test -tags codexmatrix -count=1 -timeout 30m -v -run '^TestCodexMatrix$$' ./integration

## bench: agentproxy beside nginx, squid, mitmproxy and goproxy; BENCH=quick takes two minutes in place of fifteen
bench:
	$(GO) run ./integration/bench

## pictures: of the page and of top, in docs/, as the tests see them
pictures: clients
	AGENTPROXY_PICTURES=1 $(ONCE) $(GO) test -count=1 -timeout 10m -run '^Test(PageInBrowser|PageCannotSign|TopPicture)$$' ./integration

## vuln: known vulnerabilities in what is called of the dependencies; asks vuln.go.dev
vuln:
	$(GO) run $(GOVULNCHECK) ./...

## vuln-offline: the same by the database of the day that VULNDB names, which is a Go module
vuln-offline:
	dir=$$($(GO) mod download -json golang.org/x/vulndb@$(VULNDB) | sed -n 's/.*"Dir": "\(.*\)".*/\1/p') && \
	  rm -rf bin/vulndb && $(GO) run golang.org/x/vulndb/cmd/indexdb@$(VULNDB) -vulns "$$dir/data/osv" -out bin/vulndb
	$(GO) run $(GOVULNCHECK) -db 'file://$(CURDIR)/bin/vulndb' ./...

## sbom: what the binary is made of, as CycloneDX, in bin/
sbom:
	@mkdir -p bin
	$(GO) run $(CYCLONEDX) app -json -licenses -noserial -main cmd/agentproxy -output bin/agentproxy.cdx.json .

## clients: what the end-to-end tests drive: curl, openssl, Python, git, Node 24, Codex, pi, opencode, promtool, nginx, Caddy
clients: $(CLIENTS)
	@integration/clients/check.sh

$(CLIENTS): integration/clients/package.json integration/clients/package-lock.json
	@integration/clients/install.sh
	cd integration/clients && npm ci --no-fund --no-audit
	@touch $@

clean:
	rm -rf bin integration/clients/node_modules integration/clients/bin
