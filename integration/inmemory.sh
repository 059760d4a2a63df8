#!/usr/bin/env bash
# Runs a command whose temporary files are in memory, where only root can have that. Tests
# make thousands, databases of clients among them, and wait for no disk then.
# usage: inmemory.sh COMMAND...
set -euo pipefail
[ "$(id -u)" -eq 0 ] || exec "$@"
TMPDIR=$(mktemp -d)
# A container's root may not mount.
if ! unshare --mount mount -t tmpfs tmpfs "$TMPDIR" 2>/dev/null; then
  rmdir "$TMPDIR"
  unset TMPDIR
  exec "$@"
fi
export TMPDIR
# In a mount namespace, with which the files are gone, whatever ends the command.
unshare --mount bash -euc 'mount -t tmpfs -o mode=1777 tmpfs "$TMPDIR"; exec "$@"' bash "$@" &
trap 'kill $! 2>/dev/null || true' TERM INT HUP
ended=0
wait $! || ended=$?
rmdir "$TMPDIR" || true
exit $ended
