# One static binary, root certificates, a user and two directories. The build
# downloads Go modules and nothing else:
#
#   docker build --build-arg VERSION=v1.2.3 --build-arg COMMIT=$(git rev-parse --short=12 HEAD) -t agentproxy .
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=""
ARG COMMIT=unknown
RUN make build VERSION="$VERSION" COMMIT="$COMMIT"
RUN mkdir -p /image/etc /image/own/shared /image/own/var/lib/agentproxy && \
    chmod 0700 /image/own/var/lib/agentproxy && \
    echo 'agentproxy:x:65532:65532:agentproxy:/var/lib/agentproxy:/agentproxy' > /image/etc/passwd && \
    echo 'agentproxy:x:65532:' > /image/etc/group

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /image/etc/ /etc/
# The state, and the files for the agent's container: both can be volumes.
COPY --from=build --chown=65532:65532 /image/own/ /
COPY --from=build /src/bin/agentproxy /agentproxy
LABEL org.opencontainers.image.title="agentproxy"
LABEL org.opencontainers.image.description="Signs what coding agents send to ChatGPT, and keeps the credential from them"
LABEL org.opencontainers.image.licenses="Apache-2.0"
ENV HOME=/var/lib/agentproxy
# The state is below it by default; state_dir of a configuration says otherwise.
ENV XDG_STATE_HOME=/var/lib
# The mount point of a log-in, if there is one.
ENV CODEX_HOME=/run/secrets/codex
USER 65532:65532
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=20s --start-period=1m CMD ["/agentproxy", "check", "--ready"]
ENTRYPOINT ["/agentproxy"]
CMD ["serve"]
