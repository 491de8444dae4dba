# The image of Penstock: its static binaries, with all three runners, and what
# they read, nothing else.
#
# By default it is a host for streams of people who do not trust each other:
# configs/hardened.yaml, the profile strict. Whatever confines streams has to be
# allowed to do so, and that is more than a container has by itself:
#
#   docker build --build-arg VERSION=v0.1.0 -t penstock .
#   docker run -p 4195:4195 -v penstock:/var/lib/penstock \
#     --mount type=bind,src=$PWD/token,dst=/run/secrets/penstock_token,readonly \
#     --cap-drop ALL --cap-add SYS_ADMIN --cap-add SYS_CHROOT --cap-add SYS_NICE \
#     --cap-add SETUID --cap-add SETGID \
#     --cap-add SETPCAP --cap-add CHOWN --cap-add DAC_OVERRIDE --cap-add FOWNER \
#     --cap-add KILL --cap-add SYS_PTRACE --cap-add NET_ADMIN \
#     --cap-add SYS_RESOURCE --security-opt seccomp=unconfined \
#     --security-opt apparmor=unconfined --security-opt writable-cgroups=true \
#     penstock
#
# docs/operations.md says what each flag is for, and what an engine without
# writable-cgroups takes instead. With nothing of all that, for one's own
# streams, which then share one user and have no limits but the container's:
#
#   docker run -p 4195:4195 -v penstock:/var/lib/penstock --user 65532:65532 \
#     --mount type=bind,src=$PWD/token,dst=/run/secrets/penstock_token,readonly \
#     penstock serve --isolation standard --listen 0.0.0.0:4195 \
#     --data-dir /var/lib/penstock --set http.auth.token_file=/run/secrets/penstock_token
#
# It listens on every address of the container, which Penstock does only with
# a bearer token: mount a file that holds one at /run/secrets/penstock_token,
# readable for uid 65532 where that is the user. Clients send `Authorization:
# Bearer TOKEN`. Stream files and other flags go after the image's name, with
# the whole command.

FROM --platform=$BUILDPLATFORM golang:1.26 AS build
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates make tzdata
WORKDIR /src
COPY . .
ARG TARGETOS=linux
ARG TARGETARCH=amd64
ARG VERSION=dev
ARG DATE=unknown
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOOS=$TARGETOS GOARCH=$TARGETARCH make build build-messaging build-connect BIN=/out/bin VERSION="$VERSION" DATE="$DATE"
# The licences of all that is linked go with the binaries.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    go -C tools run ./licenses -save /out/licenses ..
# From scratch there is no folder to write to yet.
RUN mkdir -p /out/data /out/tmp

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /usr/share/zoneinfo /usr/share/zoneinfo
COPY --from=build /out/bin/penstock /usr/local/bin/penstock
COPY --from=build /out/bin/penstock-launch /usr/local/bin/penstock-launch
COPY --from=build /out/bin/penstock-runner /usr/local/bin/penstock-runner
COPY --from=build /out/bin/penstock-runner-messaging /usr/local/bin/penstock-runner-messaging
COPY --from=build /out/bin/penstock-runner-connect /usr/local/bin/penstock-runner-connect
COPY configs/hardened.yaml /etc/penstock/penstock.yaml
COPY LICENSE THIRD_PARTY_LICENSES.md /usr/share/doc/penstock/
COPY --from=build /out/licenses /usr/share/doc/penstock/licenses
COPY --from=build --chown=65532:65532 /out/tmp /tmp
COPY --from=build --chown=65532:65532 /out/data /var/lib/penstock
# Root, so that every stream can have a user of its own.
USER 0:0
VOLUME /var/lib/penstock
EXPOSE 4195
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["/usr/local/bin/penstock", "healthcheck"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/penstock"]
CMD ["serve", "--config", "/etc/penstock/penstock.yaml", "--listen", "0.0.0.0:4195", "--data-dir", "/var/lib/penstock", "--set", "http.auth.token_file=/run/secrets/penstock_token"]
