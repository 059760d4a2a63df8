#!/usr/bin/env bash
# Plays a stranger's first ten minutes by README.md: a Debian with Go, git, make, Codex and
# nothing else, empty caches, a network of its own, an ordinary user. Everything that is
# typed and printed goes to standard output, with times. The clone is of the last commit
# here.
#
# Needs root, debootstrap and slirp4netns of Debian, Codex from make clients, and the Internet for
# Debian's packages and Go's modules.
set -euo pipefail
cd "$(dirname "$0")/../.."

root=$(mktemp -d)
clean() {
  # Its namespaces have ended, and all that was mounted in them.
  rm -rf --one-file-system "$root"
}
trap clean EXIT

mkdir "$root/machine"
echo "a fresh Debian is made in $root" >&2
# All of it in a mount namespace of its own, so that nothing stays mounted.
unshare --mount --propagation private bash -euo pipefail -c '
  debootstrap --variant=minbase --include=ca-certificates,curl,git,make,procps,tmux bookworm "$1/machine" >"$1/debootstrap.log" 2>&1 ||
    { tail "$1/debootstrap.log" >&2; exit 1; }' bash "$root"
machine=$root/machine
cp -a integration/clients/node_modules/codex-0.171/vendor/*/ "$machine/usr/local/lib/codex"
ln -s ../lib/codex/bin/codex "$machine/usr/local/bin/codex"
cp -a "$(${GO:-go} env GOROOT)" "$machine/usr/local/go"
# What this machine trusts: there may be an authority of the company that it is in.
cp -L /etc/ssl/certs/ca-certificates.crt "$machine/etc/ssl/certs/ca-certificates.crt"
git clone --quiet --bare . "$machine/srv/agentproxy.git"
chroot "$machine" useradd --create-home --shell /bin/bash ada
chroot "$machine" git config --system url./srv/agentproxy.git.insteadOf https://github.com/agentproxy/agentproxy
chroot "$machine" git config --system safe.directory '*'
echo 'export PATH=$PATH:/usr/local/go/bin:$HOME/.local/bin LANG=C.UTF-8' >"$machine/home/ada/.profile"
cp integration/stranger/play.sh "$machine/home/ada/play.sh"
cp /etc/resolv.conf "$machine/etc/resolv.conf"

# The machine waits for its network, which slirp4netns makes without a device of this one.
unshare --net --mount --propagation private bash -euo pipefail -c '
  until grep -q tap0 /proc/net/route; do sleep 0.1; done
  exec unshare --mount --pid --fork --kill-child --propagation private bash -euo pipefail -c "
    mount --bind \"\$1\" \"\$1\"
    mount -t proc proc \"\$1/proc\"
    mount --rbind /dev \"\$1/dev\"
    cd \"\$1\"
    pivot_root . mnt # and not chroot, in which the kernel refuses user namespaces
    umount -l /mnt
    exec su - ada -c \"bash play.sh\"" bash "$1"' bash "$machine" &
player=$!
slirp4netns --configure --mtu=65520 --disable-host-loopback "$player" tap0 >"$root/network.log" 2>&1 &
network=$!
code=0
wait "$player" || code=$?
kill "$network"
exit "$code"
