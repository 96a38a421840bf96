# The daemon and the command line, built in one image and run in another that holds nothing else.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --package analyticsd --package analytics-cli \
    && cp target/release/analyticsd target/release/analytics-cli /usr/local/bin/

FROM debian:bookworm-slim
RUN useradd --system --no-create-home --shell /usr/sbin/nologin analytics
COPY --from=build /usr/local/bin/analyticsd /usr/local/bin/analytics-cli /usr/local/bin/
USER analytics
ENV ANALYTICSD_LISTEN=0.0.0.0:8080
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["analyticsd"]
