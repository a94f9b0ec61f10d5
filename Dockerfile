# Build: docker build --tag gateway .
# Try:   docker run --rm --network host gateway demo
# Run:   docker run --detach --name gateway --restart unless-stopped --env-file .env \
#            --volume gateway-data:/data --publish 3001:3001 --stop-timeout 30 \
#            --read-only --cap-drop ALL --security-opt no-new-privileges gateway
# The ops listener is at 127.0.0.1:3002 inside the container; to reach it from outside, set
# OPS_ADDR=0.0.0.0:3002 and OPS_TOKEN, and publish 3002 to where only operators are.
#
# The base images are pinned by the digest of their index (all platforms). They do not become newer by
# themselves: `docker buildx imagetools inspect debian:bookworm-slim` shows the digest of today. Change it
# here and in config/compose.yaml with every release.

FROM rust:1.95-slim-bookworm@sha256:d7482085ff5b415f84dba5647ae71606650bdef00db7aeb69f4b3d170c3e4082 AS build
WORKDIR /build
# Dependencies first, against an empty package: they are built anew only when Cargo.lock changes.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked --bin gateway \
    && rm -r src
COPY src src
# Newer than the empty package, whatever the times in the checkout.
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked --bin gateway

FROM debian:bookworm-slim@sha256:88200866dfff7ea7f5cbcb6ec7c8a701889efe6fe859fe64d6990e4b07ea4171
# To recognise Jumper and MoEngage over TLS.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 gateway \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin gateway \
    && install --directory --owner=10001 --group=10001 --mode=0700 /data
COPY --from=build /build/target/release/gateway /usr/local/bin/gateway
# Numbers, so that an orchestrator can see that it is not root.
USER 10001:10001
# All that is written is written here; temporary files too, so the root may be read-only.
ENV DATA_DIR=/data TMPDIR=/data
VOLUME /data
EXPOSE 3001 3002
# What it takes for an orderly stop; it needs no shell for this or anything else.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["gateway", "health"]
ENTRYPOINT ["gateway"]
CMD ["serve"]
