#!/usr/bin/env bash
# Runs a command whose temporary files are in memory, where only root can have that. Tests
# make thousands, databases of clients among them, and wait for no disk then.
# usage: inmemory.sh COMMAND...
set -euo pipefail
[ "$(id -u)" -eq 0 ] || exec "$@"
TMPDIR=$(mktemp -d)
export TMPDIR
trap 'rmdir "$TMPDIR"' EXIT
# In a mount namespace, with which the files are gone, whatever ends the command.
unshare --mount bash -c 'mount -t tmpfs -o mode=1777 tmpfs "$TMPDIR"; exec "$@"' bash "$@"
