#!/bin/sh
# machine.sh DIR: boots systemd on a machine that is this one, but for what is
# written, which stays in memory. DIR/put is copied to its root, and there
# /story.sh runs as a service, for which /mnt holds the files that are new or
# changed. Prints what that printed.
# To be run as root in a mount namespace of its own.
set -eu
dir=$1
machine=agentproxy-test-$$
mount --make-rprivate /
mkdir "$dir"/memory "$dir"/cgroup
mount -t tmpfs tmpfs "$dir"/memory
cd "$dir"/memory
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
cp -r "$dir"/put/. root
mkdir -p root/etc/systemd/system root/dev root/proc root/sys root/run root/tmp
mount -t tmpfs tmpfs root/etc/systemd/system # nothing of what this machine starts
mount -t tmpfs tmpfs root/run
mount -t tmpfs tmpfs root/tmp
mount --bind upper root/mnt
mount --rbind /dev root/dev
mount -t sysfs sysfs root/sys
cat >root/etc/systemd/system/story.target <<'UNIT'
[Unit]
DefaultDependencies=no
Wants=story.service
UNIT
cat >root/etc/systemd/system/story.service <<'UNIT'
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'sh -eu /story.sh >/story.out 2>&1; echo "exit code $?" >>/story.out'
ExecStopPost=systemctl --no-block exit 0
TimeoutStartSec=240
UNIT

# The cgroups that systemd makes are below one that can be removed.
mount -t cgroup2 cgroup2 "$dir"/cgroup
mkdir "$dir"/cgroup/$machine
echo $$ >"$dir"/cgroup/$machine/cgroup.procs
code=0
container=other unshare --cgroup --pid --fork --kill-child sh -euc '
  mount -t cgroup2 cgroup2 root/sys/fs/cgroup
  mount -t proc proc root/proc
  exec chroot root /lib/systemd/systemd --system --unit=story.target --log-target=console --show-status=no
' || code=$?
echo $$ >"$dir"/cgroup/cgroup.procs
while [ -d "$dir"/cgroup/$machine ]; do # what has just ended may still be in them
  find "$dir"/cgroup/$machine -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
done

[ -f upper/story.out ] || { echo "systemd ended with exit code $code before the story"; exit 1; }
cat upper/story.out
