#!/usr/bin/env bash
# Installs the servers and clients of make garden from Debian's packages.
set -euo pipefail

# command=package
needed=(nginx=nginx-light haproxy=haproxy varnishd=varnish h2o=h2o traffic_server=trafficserver squid=squid apache2=apache2
  lighttpd=lighttpd gunicorn=gunicorn javac=default-jdk-headless curl=curl)
# module=package
modules=(aiohttp=python3-aiohttp tornado=python3-tornado waitress=python3-waitress)

export PATH=$PATH:/usr/sbin:/sbin
missing=()
for entry in "${needed[@]}"; do
  command -v "${entry%%=*}" >/dev/null || missing+=("${entry#*=}")
done
for entry in "${modules[@]}"; do
  /usr/bin/python3 -c "import ${entry%%=*}" 2>/dev/null || missing+=("${entry#*=}")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
  echo "the garden needs these programs: ${missing[*]}; install them, or run make garden as root on Debian" >&2
  exit 1
fi
exec "$(dirname "$0")/../clients/debian.sh" "${missing[@]}"
