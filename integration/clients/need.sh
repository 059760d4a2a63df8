#!/usr/bin/env bash
# Installs, from Debian's packages, those that this machine lacks.
# usage: need.sh COMMAND=PACKAGE... [python:MODULE=PACKAGE...]
set -euo pipefail

export PATH=$PATH:/usr/sbin:/sbin:/usr/lib/wine
missing=()
for entry; do
  what=${entry%%=*}
  case $what in
    python:*) /usr/bin/python3 -c "import ${what#*:}" 2>/dev/null ;;
    *) command -v "$what" >/dev/null ;;
  esac || missing+=("${entry#*=}")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
  echo "these programs are needed: ${missing[*]}; install them, or run this as root on Debian" >&2
  exit 1
fi
exec "$(dirname "$0")/debian.sh" "${missing[@]}"
