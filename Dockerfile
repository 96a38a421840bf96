# syntax=docker/dockerfile:1
# The daemon and the command line on nothing but a C library and OpenSSL: no shell, no package manager, no user with a name. The library is glibc, on which
# everything here is tested and measured.

FROM rust:1.95-slim-bookworm AS dependencies
# For librdkafka, which reads topics. It is linked in, with zlib; the image below brings OpenSSL of the same release.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends 'g++=4:12.2.*' 'libssl-dev=3.0.*' 'make=4.3-*' 'pkg-config=1.8.*' \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# The dependencies alone, with empty programs in our place: a layer that stays until a manifest changes.
COPY Cargo.toml Cargo.lock ./
COPY analyticsd/Cargo.toml analyticsd/
COPY analytics-cli/Cargo.toml analytics-cli/
COPY loadtest/Cargo.toml loadtest/
COPY db/Cargo.toml db/
COPY crates/client/Cargo.toml crates/client/
COPY crates/model/Cargo.toml crates/model/
COPY crates/event-files/Cargo.toml crates/event-files/
COPY proof/harness/Cargo.toml proof/harness/
COPY proof/bench/Cargo.toml proof/bench/
COPY proof/reliability/Cargo.toml proof/reliability/
RUN for crate in analyticsd analytics-cli loadtest db crates/* proof/*; do \
        mkdir "$crate/src" && echo 'fn main() {}' >"$crate/src/main.rs" && : >"$crate/src/lib.rs" || exit 1; \
    done \
    && cargo build --release --locked --package analyticsd --package analytics-cli --features analyticsd/kafka

FROM dependencies AS build
COPY . .
# What is copied is older than what was built of the empty programs, which must not look fresh.
RUN find . -name '*.rs' -not -path './target/*' -exec touch {} + \
    && cargo build --release --locked --package analyticsd --package analytics-cli --features analyticsd/kafka \
    && scripts/third-party analyticsd analytics-cli >THIRD-PARTY

FROM build AS build-loadtest
RUN cargo build --release --locked --package loadtest \
    && scripts/third-party loadtest >THIRD-PARTY

FROM gcr.io/distroless/cc-debian12:nonroot AS loadtest
COPY --from=build-loadtest /src/target/release/loadtest /usr/bin/
COPY --from=build-loadtest /src/LICENSE /src/THIRD-PARTY /usr/share/doc/analytics/
USER 65532:65532
ENTRYPOINT ["/usr/bin/loadtest"]

# The last stage is what `docker build .` makes.
FROM gcr.io/distroless/cc-debian12:nonroot AS analyticsd
LABEL org.opencontainers.image.title="analytics" \
      org.opencontainers.image.description="An exact event counter: unique users, clicks and impressions of every hour" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /src/target/release/analyticsd /src/target/release/analytics-cli /usr/bin/
COPY --from=build /src/LICENSE /src/THIRD-PARTY /usr/share/doc/analytics/
# A number, so that an orchestrator can see that it is not root.
USER 65532:65532
# A container's loopback reaches nobody. On this address the daemon wants tokens, or ANALYTICSD_ALLOW_ANONYMOUS=true.
ENV ANALYTICSD_LISTEN=0.0.0.0:8080
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=40s --retries=3 CMD ["/usr/bin/analyticsd", "healthcheck"]
ENTRYPOINT ["/usr/bin/analyticsd"]
