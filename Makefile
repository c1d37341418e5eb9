# Every task has one command here. `make help` lists them.

# Where planes listen. `make run` keeps its data in ./data and `make serve` in ./serve-data, or each in DATA_DIR.
LISTEN ?= 127.0.0.1:6443
# `make run PROFILE=release` builds for speed, for more than a few thousand servers; the default for a quick first start.
# SERVERS and SEED are those of the folder when not set, else those of `quarterdeck demo`, as SPEED always is; BMCS=8443 has the
# simulated BMCs speak Redfish at that port.
PROFILE ?= dev
# Where `make lab` describes its machine.
LAB ?= lab.yaml
# How long `make fuzz` stays with each target.
SECONDS_EACH ?= 60
# How many seeds `make soak` lives through, or which.
SEEDS ?= 100
# How long `make history` lets things fail.
SECONDS ?= 600

CARGO ?= cargo
BUILD_PACKAGES := gcc libc6-dev lld make

.DEFAULT_GOAL := help
.PHONY: help setup ui build run demo serve lab test test-kubernetes flows history soak fuzz lint fmt bench deny doc build-packages

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build-packages:
	@scripts/debian-packages.sh $(BUILD_PACKAGES)

setup: ## Install what the tests need, such as PostgreSQL, QEMU, Docker, Chromium, Ansible, Salt, zypper and dnf (Debian 12)
	@scripts/setup-tests.sh

ui: ## Build the web page into ui/dist, which the binary carries
	@scripts/setup-ui.sh
	@cd ui && npm run --silent build

build: build-packages ui ## Build the binary, quarterdeck, with the web page in it
	$(CARGO) build --profile $(PROFILE) --package quarterdeck

run: build-packages ui ## Build and start a plane over a simulated fleet, with examples/ loaded; SERVERS=1000 SEED=1 SPEED=10 BMCS=8443
	$(CARGO) run --profile $(PROFILE) --package quarterdeck -- \
		demo --data-dir $(or $(DATA_DIR),./data) --listen $(LISTEN) --load examples $(if $(SERVERS),--servers $(SERVERS)) \
		$(if $(SEED),--seed $(SEED)) $(if $(SPEED),--speed $(SPEED)) $(if $(BMCS),--serve-bmcs $(BMCS))

demo: run ## The same as `make run`

serve: build-packages ui ## Build and start a plane with examples/ loaded and nothing simulated; LISTEN=127.0.0.1:6443
	$(CARGO) run --profile $(PROFILE) --package quarterdeck -- \
		serve --data-dir $(or $(DATA_DIR),./serve-data) --listen $(LISTEN) --load examples

lab: setup ## Start a virtual machine with a Redfish BMC to try Quarterdeck on; LAB=lab.yaml describes it
	@$(CARGO) run --quiet --package quarterdeck-testing --example lab -- $(LAB)

# Documentation tests come first, so that what is printed last is the summary of all other tests.
test: setup ui ## Install what the tests need and run all of them, but for the flows of the page
	@cd ui && npm test --silent
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		$(CARGO) test --workspace --doc && $(CARGO) nextest run --workspace; \
	else \
		$(CARGO) test --workspace; \
	fi

test-kubernetes: setup ## Build a real Kubernetes, once, and run the tests of clusters against it (Debian 12)
	@scripts/build-kubernetes.sh
	$(CARGO) test --package quarterdeck-engine --test behaviour kubernetes::

history: setup ## Let replicas, PostgreSQL and the network fail under clients for SECONDS=600, and judge what they saw
	QUARTERDECK_HISTORY_SECONDS=$(SECONDS) $(CARGO) test --package quarterdeck --test history -- --nocapture

soak: build-packages ## Live through SEEDS=100 seeds of the whole plane, or SEEDS=from..to; a seed that breaks prints itself
	SEEDS=$(SEEDS) $(CARGO) test --package quarterdeck-simtest --test whole_plane seeds::soak -- --ignored --exact --nocapture

fuzz: build-packages ## Fuzz each parser that meets the outside for SECONDS_EACH=60 seconds
	BOLERO_RANDOM_TEST_TIME_MS=$(SECONDS_EACH)000 BOLERO_RANDOM_ITERATIONS=1000000000 \
	BOLERO_RANDOM_MAX_LEN=4096 $(CARGO) test --release \
		--package quarterdeck-model --package quarterdeck-runbook --package quarterdeck-api \
		--package quarterdeck-cli --package quarterdeck-clusters fuzz_

flows: setup ui ## Drive the page in Chromium against the real binary; SERVERS=110000 for a large fleet alone
	$(CARGO) build --package quarterdeck
	cd ui && npm run --silent e2e

lint: build-packages ## Check formatting, and run clippy and ESLint, warnings refused
	@scripts/setup-ui.sh
	@cd ui && npm run --silent lint
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- --deny warnings

fmt: ## Format the code
	$(CARGO) fmt --all

bench: setup ## Measure every figure beside its peer and rewrite bench/README.md; ONLY=name,name for some
	@scripts/setup-bench.sh
	$(CARGO) build --release --package quarterdeck
	$(CARGO) run --release --package quarterdeck-bench -- $(ONLY)

deny: ## Check licences, sources and duplicates of dependencies with cargo-deny
	@scripts/cargo-deny.sh check bans licenses sources

doc: build-packages ## Build the documentation of the code, warnings refused
	RUSTDOCFLAGS="--deny warnings" $(CARGO) doc --workspace --no-deps
