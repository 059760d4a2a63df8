//go:build linux

package integration

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// inOwnStore has a command see a store of CAs of its own for the machine's, in memory: what
// it changes there, nobody else sees. Five of the machine's CAs are in it, for
// update-ca-certificates reads each of them whenever one changes.
const inOwnStore = `set -eu
few=$(mktemp)
sed '/^[#!]/d' /etc/ca-certificates.conf | head -n 5 >"$few"
mount --bind "$few" /etc/ca-certificates.conf
rm "$few"
mount -t tmpfs tmpfs /etc/ssl/certs
mount -t tmpfs tmpfs /usr/local/share/ca-certificates
update-ca-certificates >/dev/null 2>&1
grep -c BEGIN /etc/ssl/certs/ca-certificates.crt
exec "$@"
`

// systemStoreStory asks a ChatGPT host for something with curl, which knows the
// proxy and no CA but the system's, between all that changes what that trusts.
const systemStoreStory = `set -eu
agentproxy=$1 url=$2
ca() { "$agentproxy" ca "$@" --config "$config"; }
curl() { code=0; command curl -sS -o /dev/null "$url" || code=$?; echo "curl: $code"; }
check() { "$agentproxy" check --config "$config" | grep 'CA trust'; }
config=$3
curl
ca install --store system --yes
curl
check
ca rotate --prepare >/dev/null
check
ca install --store system --yes
ca rotate >/dev/null
curl
check
ca uninstall --store system --yes
curl
ls /usr/local/share/ca-certificates
ls /etc/ssl/certs | grep agentproxy || true
find /etc/ssl/certs -xtype l
`

// TestSystemStore has curl trust the CA by way of the system's store: once it is
// installed there, while it is rotated, and no longer when it was taken out.
func TestSystemStore(t *testing.T) {
	t.Parallel()
	const bundle = "/etc/ssl/certs/ca-certificates.crt"
	before := readFile(t, bundle)
	p := serveUsual(t)
	environ := []string{"PATH=/usr/sbin:/sbin:" + systemPath, "HOME=" + t.TempDir(), "HTTPS_PROXY=" + p.url(t).String()}
	// As root of a user namespace anybody may mount.
	out := mustRun(t, environ, systemProgram(t, "unshare"), "--user", "--map-root-user", "--mount",
		"sh", "-c", inOwnStore, "sh", "sh", "-c", systemStoreStory, "sh", agentproxy, backendAPI+"/test/echo", p.fixture.config)
	const system = "CA system: /usr/local/share/ca-certificates, and what update-ca-certificates makes of it"
	want := []string{
		"5",
		"curl: 60",
		"added " + system,
		"curl: 0",
		"ok CA trust the system's store holds the CA",
		"warning CA trust the system's store holds the CA, but not the one that is to follow; before agentproxy ca rotate: agentproxy ca install --config " + p.fixture.config,
		"added " + system,
		"curl: 0",
		"warning CA trust the system's store holds the CA, and still a former one; it takes that out: agentproxy ca install --config " + p.fixture.config,
		"removed " + system,
		"removed " + system,
		"curl: 60",
	}
	var got []string
	for line := range strings.Lines(out) {
		line = regexp.MustCompile("agentproxy CA [0-9a-f]{8}").ReplaceAllString(line, "CA")
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if readFile(t, bundle) != before {
		t.Error("the machine's own store was changed")
	}
}

// TestSystemStoreOfRoot has a user without root's rights, nor sudo, ask for what
// only root can do.
func TestSystemStoreOfRoot(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	binary := copyProgram(t, home)
	giveTo(t, home, nobody)
	for _, test := range []struct {
		command, want string
		code          int
	}{
		{"uninstall", "agentproxy: nothing to change\n", 0},
		{"install", "agentproxy: only root can change the system's store, and there is no sudo; as root, set AGENTPROXY_STATE_DIR to the directory that the CA is in and run this again, or choose --store browsers\n", 1},
		{"uninstall", "agentproxy: nothing to change\n", 0}, // though there is a CA
	} {
		cmd := as(command(t, []string{"PATH=/nowhere", "HOME=" + home}, binary, "ca", test.command, "--yes"), nobody)
		cmd.Dir = home
		if r := runCommand(t, cmd); r.code != test.code || r.stderr != test.want {
			t.Errorf("%s: exit code %d, %q, want %d, %q", test.command, r.code, r.stderr, test.code, test.want)
		}
	}
}
