#!/usr/bin/env bash
# Installs packages of Debian's and leaves every service as it was: none is
# started, and none is enabled for the next boot or log-in.
# usage: debian.sh PACKAGE...
set -euo pipefail

# What starts by itself, of the system's and of every user's.
enabled() {
  find /etc/systemd/system /etc/systemd/user -type l \( -path '*.wants/*' -o -path '*.requires/*' \) 2>/dev/null || true
  find /etc/rc[S2-5].d -name 'S*' 2>/dev/null || true
}

# Packages' scripts find these before the tools that they ask for by name. The
# tools note what there is to enable, as for a service that the administrator
# has disabled, so that an upgrade does not enable it either.
quiet=$(mktemp -d)
trap 'rm -rf "$quiet"' EXIT
cat >"$quiet/deb-systemd-helper" <<'EOF'
#!/bin/bash
for arg; do
  shift
  [ "$arg" = enable ] && arg=update-state
  set -- "$@" "$arg"
done
exec /usr/bin/deb-systemd-helper "$@"
EOF
cat >"$quiet/update-rc.d" <<'EOF'
#!/bin/bash
for arg; do
  shift
  [ "$arg" = defaults ] && arg=defaults-disabled
  set -- "$@" "$arg"
done
exec /usr/sbin/update-rc.d "$@"
EOF
for start in invoke-rc.d deb-systemd-invoke; do printf '#!/bin/sh\nexit 0\n' >"$quiet/$start"; done
chmod 755 "$quiet" "$quiet"/*

install() {
  apt-get install -y -qq --no-install-recommends -o "DPkg::Path=$quiet:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" "$@"
}

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# systemd enables units of its own when it comes to a machine without it, such as
# a container. They are no service's.
if [[ " $* " == *" systemd "* ]] && ! command -v systemctl >/dev/null; then
  install systemd
fi
before=$(enabled | sort)
install "$@"

new=$(comm -13 <(echo "$before") <(enabled | sort))
if [ -n "$new" ]; then
  printf 'installing %s has enabled services; disable them:\n%s\n' "$*" "$new" >&2
  exit 1
fi
