# The tasks of this project. `make run` and `make test` work on a fresh machine with a Rust toolchain: each first installs
# what it needs and may, and says what it cannot. YES=1 answers the question before that.

CARGO ?= cargo
export YES
# Of the daemon that `make run` builds: release, or dev, which is built sooner and answers later.
PROFILE ?= release
# What is tested and what ships can read topics of Apache Kafka, for which librdkafka is built: that takes a C++ compiler and OpenSSL's headers.
# `make run` does without, so that a fresh machine needs less.
FEATURES = --features analyticsd/kafka
# The same, with the faults of topics.
ALL_FEATURES = $(FEATURES),reliability/kafka

.PHONY: help run build test smoke soak nightly screenshots load-pictures lint fmt bench bench-check bench-chunks instructions package package-test bare-test kubernetes-test prerequisites lint-prerequisites test-prerequisites smoke-prerequisites soak-prerequisites

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

run: prerequisites ## start the daemon on its embedded database, at http://127.0.0.1:8080
	folder=$$(scripts/trial-folder) && $(CARGO) run --profile $(PROFILE) --package analyticsd -- --embedded="$$folder"

build: ## build everything, optimized
	$(CARGO) build --release --workspace

test: test-prerequisites ## run every test: on native PostgreSQL, on TimescaleDB in WebAssembly, and in a real browser
	$(CARGO) build --workspace --all-targets $(ALL_FEATURES)
# cargo-nextest runs every test in a process of its own; cargo's own runner does where it is not installed. Half of the time tests wait for servers and clocks.
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
	    runner="nextest run --test-threads $$(( $$(nproc) * 2 ))"; \
	else \
	    echo 'cargo-nextest is not installed, so the tests run with cargo test; CONTRIBUTING.md says how to get it'; \
	    runner='test --quiet --lib --bins --tests'; \
	fi && \
	$${CARGO_TARGET_DIR:-target}/debug/with-database $(CARGO) $$runner --workspace $(ALL_FEATURES)
	$(CARGO) test --workspace --doc $(ALL_FEATURES)
	scripts/browser-tests debug
	scripts/client-tests debug
	@test -f ../shared/data/apache_access.log || echo "SKIPPED: the test of a real access log, which is not at ../shared/data/apache_access.log"
	@test -n "$$TEST_KAFKA" -o -x .tools/kafka/bin/tansu || echo "SKIPPED: the tests of topics, because the broker for tests is not installed"
	@! grep -q 'COMMIT: Option<&str> = None' proof/reliability/src/earlier.rs || echo "SKIPPED: the test of a rolling upgrade, because there is no earlier version whose schema this one can upgrade"

smoke: smoke-prerequisites ## load a daemon of its own for 20 seconds and fail unless every acknowledged event is counted
	$(CARGO) build --package analyticsd --package loadtest $(FEATURES)
	scripts/smoke debug $(REPORT_DIR)

# SECONDS is how long each scenario lasts; SEED and POSTGRES_BIN, the folder of other server binaries, may be left out.
soak: SECONDS = 60
soak: soak-prerequisites ## inject faults under load and audit every event: make soak SECONDS=60 SEED=1 POSTGRES_BIN=DIR
	$(CARGO) build --release --package analyticsd --package reliability $(ALL_FEATURES)
	target/release/reliability --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(if $(POSTGRES_BIN),--postgres-bin $(POSTGRES_BIN))

# SECONDS and POSTGRES_BIN as for soak.
nightly: SECONDS = 115
nightly: soak-prerequisites ## the soak for an hour, which has to try 10 million events, 1,000 faults and 200 crashes
	$(CARGO) build --release --package analyticsd --package reliability $(ALL_FEATURES)
	target/release/reliability --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(if $(POSTGRES_BIN),--postgres-bin $(POSTGRES_BIN)) \
	    --at-least-events 10000000 --at-least-faults 1000 --at-least-crashes 200

screenshots: test-prerequisites ## take the pictures of the documentation anew
	$(CARGO) build --package analyticsd $(FEATURES)
	scripts/browser-tests debug screenshots

load-pictures: smoke-prerequisites ## run the recipes of docs/load-testing.md, and keep their pictures (takes some minutes)
	$(CARGO) build --release --package analyticsd --package loadtest
	scripts/load-pictures release

lint: lint-prerequisites ## what must be clean: formatting, clippy, documentation, the rules for Prometheus, and what ships
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets $(ALL_FEATURES) -- --deny warnings
# As `make run` builds it.
	$(CARGO) clippy --package analyticsd -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' $(CARGO) doc --workspace --no-deps --document-private-items $(ALL_FEATURES)
	scripts/check-monitoring
	scripts/lint-packaging

package: ## make the Debian package of optimized programs
	@scripts/prerequisites package
	$(CARGO) build --release --locked --package analyticsd --package analytics-cli $(FEATURES)
	scripts/package release

package-test: ## install, start, upgrade and remove the package on a bare Debian 12 in a container (as root)
	@scripts/prerequisites package
	$(CARGO) build --workspace --all-targets $(ALL_FEATURES)
	scripts/package-test debug
	scripts/release-test debug

bare-test: ## run README's two commands on a bare Debian 12 in a container (as root)
	@scripts/prerequisites package
	$(CARGO) build --package analyticsd
	scripts/bare-test

kubernetes-test: ## run the Jobs and the daemon as the manifests for Kubernetes say, on PostgreSQL with TLS (as root)
	@scripts/prerequisites lint
	@scripts/prerequisites package
	$(CARGO) build --package analyticsd --package analytics-cli --package loadtest $(FEATURES)
	scripts/kubernetes-test debug

fmt: ## format the code
	$(CARGO) fmt --all

# PAGE is where the run is kept; POSTGRES_BIN, the folder of other server binaries, may be left out.
bench: PAGE = docs/performance.md
bench: ## measure beside the textbook way and a bare server, and keep the run in docs/performance.md (needs wrk, takes about forty minutes)
	$(CARGO) build --release --package analyticsd --package analytics-cli --package bench
	target/release/bench --store $(PAGE) $(if $(POSTGRES_BIN),--postgres-bin $(POSTGRES_BIN))

# AGAINST is a commit; by default that of the stored run.
bench-check: AGAINST = $(shell sed -n 's/^  "revision": "\([0-9a-f]*\).*/\1/p' docs/performance.json)
bench-check: ## measure beside an earlier commit for some minutes, and fail if that was faster beyond noise: make bench-check AGAINST=COMMIT (needs wrk)
	$(CARGO) build --release --package analyticsd --package analytics-cli --package bench
	target/release/bench --quick --against "$(AGAINST)" $(if $(POSTGRES_BIN),--postgres-bin $(POSTGRES_BIN))

instructions: ## count the daemon's instructions for one GET and one POST, which tells small changes apart (needs valgrind and wrk)
	$(CARGO) build --release --package analyticsd --package analytics-cli --package bench
	scripts/instructions target/release/analyticsd target/release/analytics-cli target/release/bench

bench-chunks: ## compare chunk intervals and indexes on an empty TimescaleDB database: DATABASE_URL=… make bench-chunks
	psql --no-psqlrc --quiet --file db/benches/chunks.sql "$(DATABASE_URL)"

prerequisites:
	@scripts/prerequisites

lint-prerequisites:
	@scripts/prerequisites lint

test-prerequisites:
	@scripts/prerequisites tests

smoke-prerequisites:
	@scripts/prerequisites smoke

soak-prerequisites:
	@scripts/prerequisites soak
