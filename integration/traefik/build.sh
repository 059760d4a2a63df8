#!/usr/bin/env bash
# Builds Traefik from its module, with stubs for what no registry has.
# usage: build.sh FILE
set -euo pipefail

file=$(realpath "$1")
cd "$(dirname "$0")"
go=${GO:-go}

# The version that Traefik requires.
dir=$($go mod download -json github.com/go-acme/lego/v5@v5.4.1 | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
rm -rf lego
cp -r --no-preserve=mode "$dir" lego
find lego/providers/dns -mindepth 1 -delete
cp stubs/dns/dns.go lego/providers/dns/

CGO_ENABLED=0 $go build -trimpath -buildvcs=false -ldflags '-s -w -X github.com/traefik/traefik/v3/pkg/version.Version=v3.7.13' \
  -o "$file" github.com/traefik/traefik/v3/cmd/traefik
