//go:build linux

package integration

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestDebianPackage makes the package.
func TestDebianPackage(t *testing.T) {
	t.Parallel()
	dir := copySources(t)
	if err := os.CopyFS(filepath.Join(dir, "deploy"), os.DirFS(filepath.Join("..", "deploy"))); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "docs", "agentproxy.schema.json"), []byte(readFile(t, "../docs/agentproxy.schema.json")))
	makeTarget(t, dir, "deb")
	path := filepath.Join(dir, "bin", "agentproxy_1.2.3_"+runtime.GOARCH+".deb")
	deb := readFile(t, path)
	t.Run("manual pages", func(t *testing.T) {
		t.Parallel()
		checkManPages(t, filepath.Join(dir, "bin", "man"))
	})
	t.Run("contents", func(t *testing.T) {
		t.Parallel()
		checkContents(t, path)
	})
	t.Run("life", func(t *testing.T) {
		t.Parallel()
		checkLife(t, deb)
	})
}

// checkLife installs the package on a machine with systemd, uses the service,
// updates and removes it. The machine is this one, but for what is written,
// which stays in memory.
func checkLife(t *testing.T, deb string) {
	if !needRoot(t) {
		return
	}
	f := newFixture(t, fixtureConfig{})
	listen := freeAddress(t)

	dir := t.TempDir()
	put := filepath.Join(dir, "put")
	if err := os.Mkdir(put, 0o755); err != nil {
		t.Fatal(err)
	}
	story, err := filepath.Abs(filepath.Join("testdata", "debian"))
	if err != nil {
		t.Fatal(err)
	}
	config := func(oldnew ...string) string {
		return strings.NewReplacer(append(oldnew,
			"listen: 127.0.0.1:0", "listen: "+listen,
			filepath.Join(filepath.Dir(f.config), "upstream-ca.pem"), "/story.upstream.pem")...,
		).Replace(readFile(t, f.config))
	}
	for name, text := range map[string]string{
		"story.sh":           readFile(t, filepath.Join(story, "story.sh")),
		"story.env":          "listen=" + listen + "\nurl=" + backendAPI + "/codex/models?client_version=1\n",
		"story.deb":          deb,
		"story.yaml":         config(f.stateDir, "/var/lib/agentproxy", f.codexHome, "/var/lib/agentproxy/codex"),
		"story.user.yaml":    config(`"`+f.stateDir+`"`, `""`, `"`+f.codexHome+`"`, `""`),
		"story.socket.conf":  "[Socket]\nListenStream=\nListenStream=" + listen + "\n",
		"story.auth.json":    readFile(t, filepath.Join(f.codexHome, "auth.json")),
		"story.upstream.pem": string(f.backend.CertPEM()),
	} {
		writeFile(t, filepath.Join(put, name), []byte(text))
	}
	for _, name := range []string{"story.upstream.pem", "story.socket.conf"} {
		if err := os.Chmod(filepath.Join(put, name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, systemProgram(t, "unshare"), "--mount", "sh", filepath.Join(story, "machine.sh"), dir)
	cmd.Env = []string{"PATH=/usr/sbin:/sbin:" + systemPath, "LC_ALL=C.UTF-8"}
	r := runCommand(t, cmd)
	if r.code != 0 {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
	want := readFile(t, filepath.Join(story, "story.out"))
	host, _, _ := net.SplitHostPort(listen)
	out := strings.NewReplacer(listen, "ADDRESS", host, "HOST").Replace(r.stdout)
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(out, "\n")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// checkContents has nobody but root own anything, or be able to change it, and
// nothing be there that looks like a secret.
func checkContents(t *testing.T, path string) {
	var files []string
	for line := range strings.Lines(mustRun(t, baseEnv(t), systemProgram(t, "dpkg-deb"), "--contents", path)) {
		fields := strings.Fields(line)
		mode, owner, name := fields[0], fields[1], fields[5]
		want := map[bool]string{true: "drwxr-xr-x", false: "-rw-r--r--"}[mode[0] == 'd']
		switch name {
		case "./etc/agentproxy/":
			want = "drwxr-x---"
		case "./usr/bin/agentproxy":
			want = "-rwxr-xr-x"
		}
		if mode != want || owner != "root/root" {
			t.Errorf("%s has mode %s and is %s's, want %s and root's", name, mode, owner, want)
		}
		if mode[0] != 'd' && !strings.HasPrefix(name, "./usr/share/man/") {
			files = append(files, name)
		}
	}
	want := []string{
		"./etc/agentproxy/config.yaml",
		"./usr/bin/agentproxy",
		"./usr/lib/systemd/system/agentproxy.service",
		"./usr/lib/systemd/system/agentproxy.socket",
		"./usr/lib/systemd/user/agentproxy.service",
		"./usr/lib/systemd/user/agentproxy.socket",
		"./usr/lib/sysusers.d/agentproxy.conf",
		"./usr/share/bash-completion/completions/agentproxy",
		"./usr/share/doc/agentproxy/changelog.gz",
		"./usr/share/doc/agentproxy/copyright",
		"./usr/share/doc/agentproxy/examples/apparmor",
		"./usr/share/doc/agentproxy/examples/config.yaml",
		"./usr/share/doc/agentproxy/examples/docs/agentproxy.schema.json",
		"./usr/share/doc/agentproxy/examples/sandbox.conf",
		"./usr/share/fish/vendor_completions.d/agentproxy.fish",
		"./usr/share/lintian/overrides/agentproxy",
		"./usr/share/zsh/vendor-completions/_agentproxy",
	}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
