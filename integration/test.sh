#!/usr/bin/env bash
# Runs everything that must hold before a change lands. The last line is
# "N passed, N failed".
set -euo pipefail
cd "$(dirname "$0")/.."

if ! CGO_ENABLED=0 "${GO:-go}" build -trimpath -o bin/testsummary ./integration/testsummary; then
  echo "0 passed, 1 failed"
  exit 1
fi
# A C compiler is among them, which the race detector needs from the beginning.
if ! integration/clients/install.sh; then
  echo "0 passed, 1 failed"
  exit 1
fi
# npm's packages are fetched while vet compiles what most steps test, and the race detector's
# tests, which are compiled otherwise, begin. What needs no client fills the time in which
# integration waits.
exec bin/testsummary 'vet clients unit&' 'integration unit-plain processes test-fips test-deploy test-vectors staticcheck'
