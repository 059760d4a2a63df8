#!/usr/bin/env bash
# Installs what the tests need and this machine lacks, from Debian's packages.
set -euo pipefail

# command=package
needed=(curl=curl openssl=openssl python3=python3 git=git gcc=gcc npm=npm ip=iproute2 nsenter=util-linux mount=mount)
# of the laptop: stores of CAs, shells, man pages, systemd
needed+=(certutil=libnss3-tools update-ca-certificates=ca-certificates unshare=util-linux fish=fish zsh=zsh man=man-db mandoc=mandoc
  systemd-analyze=systemd systemd-socket-activate=systemd)
# of watching: Prometheus' own checks, a browser
needed+=(promtool=prometheus chromium=chromium)
# of certificates: GnuTLS' verifier; NSS' comes with certutil
needed+=(certtool=gnutls-bin)
# of gateways
needed+=(nginx=nginx-light caddy=caddy)
# of agentproxy run: a terminal, a Secret Service on a bus of its own, a sandbox
needed+=(tmux=tmux dbus-daemon=dbus-daemon dbus-run-session=dbus-daemon gnome-keyring-daemon=gnome-keyring secret-tool=libsecret-tools
  bwrap=bubblewrap setpriv=util-linux)

# Where tests look for programs, whatever else is in PATH: a Python in somebody's home has other modules.
system=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin

missing=()
for entry in "${needed[@]}"; do
  program=${entry%%=*}
  case $program in
  git | gcc | npm) command -v "$program" >/dev/null ;; # which make and go use
  *) PATH=$system command -v "$program" >/dev/null ;;
  esac || missing+=("${entry#*=}")
done
[ -e /usr/share/bash-completion/bash_completion ] || missing+=(bash-completion)
PATH=$system python3 -c 'import requests' 2>/dev/null || missing+=(python3-requests)
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
  echo "the tests need these programs: ${missing[*]}; install them, or run make clients as root on Debian" >&2
  exit 1
fi
[[ " ${missing[*]} " == *" gcc "* ]] && missing+=(libc6-dev)
exec "$(dirname "$0")/debian.sh" "${missing[@]}"
