#!/usr/bin/env bash
# Installs container engines from Debian's packages. None of their services is
# started, and none is left to be started at boot.
set -euo pipefail

# command=package
needed=(dockerd=docker.io podman=podman /usr/lib/podman/netavark=netavark /usr/lib/podman/aardvark-dns=aardvark-dns iptables=iptables script=bsdutils)

export PATH=$PATH:/usr/sbin:/sbin
missing=()
for entry in "${needed[@]}"; do
  command -v "${entry%%=*}" >/dev/null || missing+=("${entry#*=}")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
  echo "the engines' tests need these programs: ${missing[*]}; install them, or run make engines as root on Debian" >&2
  exit 1
fi
# What is started at boot is a link from one of these.
enabled() { { find /etc/systemd /etc/rc?.d -type l 2>/dev/null || true; } | sort; }
before=$(enabled)
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
if [ ! -e /usr/sbin/policy-rc.d ]; then
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
  chmod 755 /usr/sbin/policy-rc.d
fi
apt-get install -y -qq --no-install-recommends "${missing[@]}"
comm -13 <(echo "$before") <(enabled) | xargs -r rm -f
