//go:build linux

package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// prepared is what somebody who follows docs/sidecar.md has made.
type prepared struct {
	dir     string
	kubectl [][]string // the arguments that it was called with
}

// prepare does what docs/sidecar.md prepares for this test.
func (f *fixture) prepare(t *testing.T) *prepared {
	t.Helper()
	return f.prepareFor(t, t.Name())
}

// prepareFor runs the commands of docs/sidecar.md that are marked as run by a
// test, with an identity of the fixture's log-in in the home directory. What
// kubectl would be told is noted.
func (f *fixture) prepareFor(t *testing.T, test string) *prepared {
	t.Helper()
	p, home, bin := &prepared{dir: t.TempDir()}, t.TempDir(), t.TempDir()
	if err := os.CopyFS(filepath.Join(p.dir, "deploy"), os.DirFS(filepath.Join("..", "deploy"))); err != nil {
		t.Fatal(err)
	}
	jwt := f.backend.IdentityJWT(f.backend.RegisterIdentity(f.login))
	f.given = append(f.given, jwt)
	writeFile(t, filepath.Join(home, "identity.jwt"), []byte(jwt))
	called := filepath.Join(home, "called")
	for name, script := range map[string]string{
		"agentproxy": `exec ` + agentproxy + ` "$@"`,
		"sudo":       `exec "$@"`,
		"kubectl":    `for word; do printf '%s\t' "$word"; done >>` + called + `; echo >>` + called,
	} {
		writeProgram(t, filepath.Join(bin, name), "#!/bin/sh\n"+script+"\n")
	}
	script := "set -eu\n"
	for _, e := range examplesIn(t, filepath.Join("..", "docs", "sidecar.md")) {
		for _, c := range e.commands {
			if e.comment == "run by "+test {
				script += c.line + "\n"
			}
		}
	}
	if script == "set -eu\n" {
		t.Fatalf("docs/sidecar.md has nothing for %s to run", test)
	}
	cmd := command(t, []string{"PATH=" + bin + ":" + systemPath, "HOME=" + home}, systemProgram(t, "bash"), "-c", script)
	cmd.Dir = p.dir
	if r := runCommand(t, cmd); r.code != 0 || r.stdout != "" {
		t.Fatalf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	for line := range strings.Lines(readFile(t, called)) {
		p.kubectl = append(p.kubectl, strings.Split(strings.TrimSuffix(line, "\t\n"), "\t"))
	}
	return p
}

// apply does to a cluster what kubectl was told.
func (p *prepared) apply(t *testing.T, c *cluster, manifests string) {
	t.Helper()
	applied := false
	for _, args := range p.kubectl {
		var objects map[string]map[string]string
		switch strings.Join(args[:2], " ") {
		case "create secret":
			objects, args = c.secrets, args[3:] // generic
		case "create configmap":
			objects, args = c.configMaps, args[2:]
		case "apply -f":
			applied = args[2] == filepath.Join("deploy", "kubernetes", manifests)
			continue
		default:
			t.Fatalf("kubectl %q", args)
		}
		objects[args[0]] = make(map[string]string)
		for _, option := range args[1:] {
			path := strings.TrimPrefix(option, "--from-file=")
			key, file, named := strings.Cut(path, "=")
			if !named {
				key, file = filepath.Base(path), path
			}
			if !filepath.IsAbs(file) {
				file = filepath.Join(p.dir, file)
			}
			objects[args[0]][key] = readFile(t, file)
		}
	}
	if !applied {
		t.Errorf("%s is not applied", manifests)
	}
}
