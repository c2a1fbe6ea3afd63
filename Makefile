# "make run" and "make test" do all their own set-up.
GO ?= go
LINT = $(GO) tool -modfile=tools.mod golangci-lint

# Packages where goroutines share state, run a second time under the race detector.
RACE = . ./internal/feed ./internal/revocation ./internal/session ./internal/throttle ./internal/web ./internal/app ./testauth

# One static binary, and one build cache for everything but the race detector.
export CGO_ENABLED = 0

.PHONY: run build test lint fmt

run: build
	./coatcheck serve

build:
	$(GO) build -o coatcheck ./cmd/coatcheck

test:
	scripts/install-test-programs
	$(GO) vet ./...
	$(GO) test ./...
	CGO_ENABLED=1 $(GO) test -race $(RACE)

lint:
	$(LINT) run

fmt:
	$(LINT) fmt
