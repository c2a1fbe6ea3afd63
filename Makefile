# "make run" and "make test" do all their own set-up.
GO ?= go
LINT = $(GO) tool -modfile=tools.mod golangci-lint

# Packages where goroutines share state, run a second time under the race detector, but for
# the flows on a breaking database: they ask one thing after the other, as the flows do.
RACE = . ./internal/feed ./internal/load ./internal/revocation ./internal/session ./internal/throttle ./internal/web ./internal/app ./server ./testauth

# Modules of their own, so that nobody who imports ours gets what they need.
NESTED = bench bench/peers interop internal/jwt/wycheproof

# One static binary, and one build cache for everything but the race detector.
export CGO_ENABLED = 0

.PHONY: run build test bench bench-quick peers drill shots fuzz lint fmt

run: build
	./coatcheck serve

build:
	$(GO) build -o coatcheck ./cmd/coatcheck

test:
	scripts/install-test-programs
	$(GO) vet ./...
	$(GO) test ./...
	CGO_ENABLED=1 $(GO) test -race -skip '^TestFlowsOnABrokenDatabase$$' $(RACE)
	for module in $(NESTED); do (cd $$module && $(GO) vet ./... && $(GO) test -count=1 ./...) || exit 1; done

# The figures of docs/performance.md, measured anew beside the stored ones. Some of
# them: make bench ARGS="-only verifier,check". To store them: ARGS=-save.
bench:
	scripts/install-bench-programs
	cd bench && $(GO) run . $(ARGS)

# A rough idea in about a minute.
bench-quick:
	$(MAKE) bench ARGS="-quick $(ARGS)"

# The same answer behind Coatcheck's verifier and behind what else people use.
peers:
	cd bench/peers && $(GO) run . $(ARGS)

# The drills at their full size. "make test" runs them small.
drill:
	scripts/install-test-programs
	$(GO) test ./drill -count=1 -timeout 120m -args -long

# A picture of every page, on a phone and a desktop, light and dark: browser/shots.
shots:
	scripts/install-test-programs
	$(GO) test ./browser -count=1 -run 'TestPages|TestGerman|TestMails' -args -shots

# Every fuzz target, a minute each.
fuzz:
	scripts/fuzz 60s

lint:
	$(LINT) run

fmt:
	$(LINT) fmt
