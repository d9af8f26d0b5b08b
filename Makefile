# make help lists the targets.

GO       ?= go
FUZZTIME ?= 20s
CHECKS   ?= 5000
KILLS    ?= 100
PREFIX   ?= /usr/local
DESTDIR  ?=

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT  := $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
BUILD    = CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)'

LINT_VERSION := 2.15.0
# The binary if there is one of this version, else built by go run: the first
# time that takes a minute or two.
LINT = $(shell PATH="$$PATH:$$($(GO) env GOPATH)/bin"; \
	if golangci-lint version 2>/dev/null | grep -q 'version $(LINT_VERSION) '; then command -v golangci-lint; \
	else echo '$(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(LINT_VERSION)'; fi)

.PHONY: build demo deps test race fuzz lint fmt cover bench torture install uninstall dist clean help

build: ## bin/zimg, for this machine
	$(BUILD) -o bin/zimg ./cmd/zimg

demo: build ## zones that outlive a real guest, step by step
	scripts/deps.sh
	scripts/demo.sh

deps: ## what the tests need, from the distribution's packages
	scripts/deps.sh

test: deps ## go vet and all tests, those with guests too
	$(GO) vet ./...
	GOOS=darwin $(GO) vet ./...
	GOOS=windows $(GO) vet ./...
	$(GO) test -timeout 40m ./...

race: deps ## all tests under the race detector
	CGO_ENABLED=1 $(GO) test -race -timeout 60m ./...

fuzz: ## each fuzz target for FUZZTIME
	GO='$(GO)' FUZZTIME='$(FUZZTIME)' scripts/fuzz.sh

lint: ## golangci-lint, with the rules of .golangci.yml
	$(LINT) run --allow-parallel-runners ./...

fmt: ## gofumpt
	$(LINT) fmt ./...

cover: deps ## cover.out and the total; go tool cover -html=cover.out shows it
	$(GO) test -timeout 40m -coverpkg=./... -coverprofile=cover.out ./...
	$(GO) tool cover -func=cover.out | tail -1

bench: build ## side by side with what one would take instead; bench.json has the numbers
	scripts/deps.sh fio nbdkit
	$(GO) build -o bin/nvmeload ./scripts/bench/nvmeload
	$(GO) run ./scripts/bench -json bench.json

# The packages that have properties: only they know rapid's flags.
RAPID = $$($(GO) list -f '{{range .TestImports}}{{if eq . "pgregory.net/rapid"}}{{$$.ImportPath}}{{end}}{{end}}{{range .XTestImports}}{{if eq . "pgregory.net/rapid"}} {{$$.ImportPath}}{{end}}{{end}}' ./...)

torture: deps ## KILLS kills of each file system and under load, and the property tests CHECKS times over, new each time
	ZIMG_KILLS=$(KILLS) $(GO) test -timeout 240m -count=1 -v -run 'Killed|Torture' ./cmd/zimg
	$(GO) test -timeout 120m -count=1 $(RAPID) -rapid.checks=$(CHECKS)

install: build ## program, man pages, completions and documents, to PREFIX (/usr/local)
	scripts/install.sh $(DESTDIR)$(PREFIX)

uninstall: ## removes what install has put below PREFIX
	scripts/install.sh $(DESTDIR)$(PREFIX) --uninstall

dist: ## dist/: a static binary for each system, with checksums
	GO='$(GO)' VERSION='$(VERSION)' LDFLAGS='$(LDFLAGS)' scripts/dist.sh

clean: ## all that was built, the tests' guest too
	rm -rf bin dist .cache cover.out

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 10
