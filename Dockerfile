# The image of Penstock: two static binaries and what they read, nothing else.
#
#   docker build --build-arg VERSION=v0.1.0 -t penstock .
#   docker run -p 4195:4195 -v penstock:/var/lib/penstock \
#     --mount type=bind,src=$PWD/token,dst=/run/secrets/penstock_token,readonly penstock
#
# It listens on every address of the container, which Penstock does only with
# a bearer token: mount a file that holds one, readable for uid 65532, at
# /run/secrets/penstock_token. Clients send `Authorization: Bearer TOKEN`.
# Stream files and other flags go after the image's name, with the whole
# command, as in `docker run … penstock serve --listen … /streams`.

FROM --platform=$BUILDPLATFORM golang:1.26 AS build
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates make tzdata
WORKDIR /src
COPY . .
ARG TARGETOS=linux
ARG TARGETARCH=amd64
ARG VERSION=dev
ARG DATE=unknown
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOOS=$TARGETOS GOARCH=$TARGETARCH make build BIN=/out/bin VERSION="$VERSION" DATE="$DATE"
# The licences of all that is linked go with the binaries.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    go -C tools run ./licenses -save /out/licenses ..
# From scratch there is no folder to write to yet.
RUN mkdir -p /out/data /out/tmp

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /usr/share/zoneinfo /usr/share/zoneinfo
COPY --from=build /out/bin/penstock /usr/local/bin/penstock
COPY --from=build /out/bin/penstock-runner /usr/local/bin/penstock-runner
COPY LICENSE THIRD_PARTY_LICENSES.md /usr/share/doc/penstock/
COPY --from=build /out/licenses /usr/share/doc/penstock/licenses
COPY --from=build --chown=65532:65532 /out/tmp /tmp
COPY --from=build --chown=65532:65532 /out/data /var/lib/penstock
USER 65532:65532
VOLUME /var/lib/penstock
EXPOSE 4195
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["/usr/local/bin/penstock", "healthcheck"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/penstock"]
CMD ["serve", "--listen", "0.0.0.0:4195", "--data-dir", "/var/lib/penstock", "--set", "http.auth.token_file=/run/secrets/penstock_token"]
