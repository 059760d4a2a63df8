# The life of the package on a machine: what is printed is compared by the test.
# $listen and $url are set by it.
. /story.env
cp /etc/ssl/certs/ca-certificates.crt /story.pem
units() { systemctl is-active agentproxy.socket agentproxy.service | tr '\n' ' ' && echo || echo; }
ask() { setpriv --reuid "$1" --regid nogroup --clear-groups curl -sS -o /dev/null -w '%{http_code}\n' \
  --proxy "http://$listen" --cacert /story.pem "$url" 2>&1 | sed -n 's/^curl: //p; /^[0-9][0-9]*$/p' | sed 's/ port .*//'; }
# What was written on this machine, but for the package's files and what dpkg,
# man and systemd note down.
changed() { find /mnt ! -type d | sed 's#^/mnt##' | grep -vxF "$(dpkg -L agentproxy 2>/dev/null)" |
  grep -vE '^/(story|etc/(m|\.pwd\.lock|sub[gu]id|[a-z]*-$)|var/(lib/dpkg|cache/man|log)/)' | sort; }

echo "== installed"
dpkg --no-triggers --install /story.deb >/dev/null 2>&1
getent passwd agentproxy | cut -d: -f1,5-
stat -c '%A %U:%G %n' /etc/agentproxy /etc/agentproxy/config.yaml
echo "beside what is in it:"
changed
systemctl is-enabled agentproxy.socket agentproxy.service || true
units

echo "== verified"
systemd-analyze verify /usr/lib/systemd/system/agentproxy.service /usr/lib/systemd/system/agentproxy.socket
systemd-analyze security --offline=true --threshold=20 /usr/lib/systemd/system/agentproxy.service >/dev/null
systemd-analyze security --offline=true --threshold=65 /usr/lib/systemd/user/agentproxy.service >/dev/null
agentproxy check --config /etc/agentproxy/config.yaml | head -n 1
man --where agentproxy agentproxy-ca-install

echo "== of a user"
useradd --create-home somebody
install -d -m 700 -o somebody -g somebody /run/user /run/user/somebody /home/somebody/.codex
install -m 600 -o somebody -g somebody /story.auth.json /home/somebody/.codex/auth.json
install -m 600 -o somebody -g somebody /story.user.yaml /home/somebody/config.yaml
cat >/etc/systemd/system/manager.service <<'UNIT'
[Service]
Type=notify
User=somebody
Environment=XDG_RUNTIME_DIR=/run/user/somebody AGENTPROXY_CONFIG=/home/somebody/config.yaml
ExecStart=/lib/systemd/systemd --user
Delegate=yes
UNIT
systemctl daemon-reload
systemctl start manager.service
own() { setpriv --reuid somebody --regid somebody --clear-groups env -C /home/somebody HOME=/home/somebody XDG_RUNTIME_DIR=/run/user/somebody "$@"; }
own systemd-analyze --user verify /usr/lib/systemd/user/agentproxy.service /usr/lib/systemd/user/agentproxy.socket
own mkdir -p .config/systemd/user/agentproxy.socket.d .config/systemd/user/agentproxy.service.d
own cp /story.socket.conf .config/systemd/user/agentproxy.socket.d/
own systemctl --user --quiet enable --now agentproxy.socket
ask somebody || true
cp /home/somebody/.local/state/agentproxy/ca/ca.pem /story.pem
ask somebody
ask nobody || true
own systemctl --user is-active agentproxy.socket agentproxy.service
own cp /usr/share/doc/agentproxy/examples/sandbox.conf .config/systemd/user/agentproxy.service.d/
own systemctl --user daemon-reload
own systemctl --user restart agentproxy.service
own systemctl --user show --property=ProtectHome agentproxy.service
ask somebody
ask nobody || true
systemctl stop manager.service
userdel --remove somebody 2>/dev/null

echo "== started by the first client"
mkdir /etc/systemd/system/agentproxy.socket.d
cp /story.socket.conf /etc/systemd/system/agentproxy.socket.d/
cp /story.yaml /etc/agentproxy/config.yaml
install -d -m 700 -o agentproxy -g agentproxy /var/lib/agentproxy /var/lib/agentproxy/codex
install -m 600 -o agentproxy -g agentproxy /story.auth.json /var/lib/agentproxy/codex/auth.json
systemctl daemon-reload
systemctl --quiet enable --now agentproxy.socket 2>/dev/null
units
ask agentproxy || true
cp /var/lib/agentproxy/ca/ca.pem /story.pem
ask agentproxy
ask nobody
units
before=$(systemctl show --property=MainPID agentproxy.service)
systemctl reload agentproxy.service
ask agentproxy
[ "$before" = "$(systemctl show --property=MainPID agentproxy.service)" ]
systemctl show --property=StatusText agentproxy.service | sed 's/agent-.*/AGENT/'

echo "== updated"
dpkg --no-triggers --install --force-confold /story.deb >/dev/null
[ "$before" != "$(systemctl show --property=MainPID agentproxy.service)" ]
ask agentproxy
units

echo "== removed"
dpkg --no-triggers --remove agentproxy >/dev/null 2>&1
units
ask agentproxy || true
dpkg --no-triggers --purge agentproxy | grep left
ls /etc/agentproxy 2>&1 || true
echo "and:"
changed
