//go:build linux

package integration

import (
	"debug/buildinfo"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestNoTestDependencies looks for what only tests use in the program.
func TestNoTestDependencies(t *testing.T) {
	t.Parallel()
	info, err := buildinfo.ReadFile(agentproxy)
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Deps) < 10 {
		t.Errorf("only %d modules are in the program", len(info.Deps))
	}
	for _, dep := range info.Deps {
		for _, name := range []string{"santhosh-tekuri/jsonschema", "google/go-cmp", "rogpeppe/go-internal", "russross/blackfriday", "h2spec"} {
			if strings.Contains(dep.Path, name) {
				t.Errorf("%s is in the program", dep.Path)
			}
		}
	}
}

// TestConfigCheck has files with mistakes, all of which are printed, and with none.
func TestConfigCheck(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	broken, good := filepath.Join(dir, "broken.yaml"), filepath.Join(dir, "good.yaml")
	writeFile(t, broken, []byte("lisen: 127.0.0.1:1\nlog: {level: loud, format: xml}\nlimits: {connections: 0}\n"))
	writeFile(t, good, []byte("log: {level: debug}\n"))
	want := strings.ReplaceAll(`FILE:1:1: there is no key lisen; did you mean listen?
FILE:2:14: log.level: "loud" is none of debug, info, warn, error, disabled
FILE:2:28: log.format: "xml" is none of auto, console, json
FILE:3:23: limits.connections: 0 is too few for any client; give at least 1
`, "FILE", broken)
	for name, test := range map[string]struct {
		args    []string
		environ []string
		code    int
		stdout  string
		stderr  string
	}{
		"an argument":       {[]string{broken}, nil, 2, want, ""},
		"--config":          {[]string{"--config", broken}, nil, 2, want, ""},
		"the variable":      {nil, []string{"AGENTPROXY_CONFIG=" + broken}, 2, want, ""},
		"no mistake":        {[]string{good}, nil, 0, good + ": no mistakes\n", ""},
		"no file":           {nil, nil, 0, "no file: the defaults hold: no mistakes\n", ""},
		"none":              {[]string{"none"}, []string{"AGENTPROXY_CONFIG=" + broken}, 0, "no file: the defaults hold: no mistakes\n", ""},
		"both":              {[]string{"--config", good, broken}, nil, 2, "", "agentproxy: --config and FILE name a file each; keep one of them\n"},
		"a missing file":    {[]string{"/nowhere.yaml"}, nil, 2, "/nowhere.yaml: no such file or directory; name an existing file with --config, or none for the defaults\n", ""},
		"the variable's":    {[]string{good}, []string{"AGENTPROXY_LISTEN=x"}, 2, "AGENTPROXY_LISTEN: \"x\" is not host:port, as in 127.0.0.1:8080, nor unix:/path\n", ""},
		"a directory":       {[]string{dir}, nil, 2, dir + ": not a regular file; name an existing file with --config, or none for the defaults\n", ""},
		"an empty argument": {[]string{""}, nil, 2, "", "agentproxy: the name of the file is empty\n"},
	} {
		out := run(t, append(baseEnv(t), test.environ...), agentproxy, append([]string{"config", "check"}, test.args...)...)
		if out.code != test.code || out.stdout != test.stdout || out.stderr != test.stderr {
			t.Errorf("%s: exit code %d\n%s%s", name, out.code, out.stdout, out.stderr)
		}
	}
}

// TestConfigShow has values from everywhere, and secrets, which are not shown. What is shown
// is a configuration, and what is in force with it is the same.
func TestConfigShow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "config.yaml")
	writeFile(t, path, []byte(`admin_token: sekret-1
state_dir: ""
clients:
  token: sekret-2
  issued: off
authz: {listen: "unix:/tmp/s", token: sekret-3}
upstream: {proxy: "http://sekret-4:sekret-5@proxy.example:3128", connect_to: {"a.example:443": "127.0.0.1:1"}}
signer:
  rules:
    - {host: chatgpt.com, path: /a, use: bearer}
scope: {allow: [codex, {path: /b, methods: [GET]}]}
other_hosts: [a.example]
profiles:
  - {name: a, labels: ["b-*"], signer: {use: token, token_env: T}, other_hosts: refuse}
`))
	environ := append(baseEnv(t), "AGENTPROXY_ADMIN=127.0.0.1:1", "CODEX_HOME=/c", "XDG_STATE_HOME=/s")
	environ = append(environ, "AGENTPROXY_CONFIG="+path)
	writeFile(t, path, []byte(strings.Replace(readFile(t, path), "issued: off", "issued: also\n  trust_labels: true", 1)))
	out := mustRun(t, environ, agentproxy, "config", "show", "--listen", "0.0.0.0:1")
	if strings.Contains(out, "sekret") {
		t.Errorf("a secret is shown:\n%s", out)
	}
	for _, want := range []string{
		"# The configuration file: " + path,
		`listen: "0.0.0.0:1" # --listen`,
		`admin: "127.0.0.1:1" # AGENTPROXY_ADMIN`,
		`admin_token: (not shown) # file, line 1`,
		`state_dir: /s/agentproxy # default`,
		`  codex_home: /c # CODEX_HOME`,
		`  token: (not shown) # file, line 4`,
		`  trust_labels: true # file, line 6`,
		`  proxy: "http://(not shown)@proxy.example:3128" # file, line 8`,
		`other_hosts: [a.example] # file, line 13`,
		`  level: info # default`,
		`  rules: # file, line 11`,
	} {
		lines := regexp.MustCompile(` +# `).ReplaceAllString(out, " # ")
		if !strings.Contains("\n"+lines, "\n"+want+"\n") {
			t.Errorf("there is no line %q in\n%s", want, out)
		}
	}
	again := filepath.Join(dir, "again.yaml")
	writeFile(t, again, []byte(strings.NewReplacer("(not shown)@", "u:p@", "(not shown)", "x").Replace(out)))
	values := func(text string) string {
		return regexp.MustCompile(`(?m) +#.*$|^#.*\n`).ReplaceAllString(strings.NewReplacer("(not shown)@", "u:p@", "(not shown)", "x").Replace(text), "")
	}
	second := mustRun(t, append(baseEnv(t), "AGENTPROXY_CONFIG="+again), agentproxy, "config", "show")
	if strings.ReplaceAll(values(second), "(not shown)", "x") != values(out) {
		t.Errorf("shown again it is\n%swant\n%s", values(second), values(out))
	}
	if out := run(t, baseEnv(t), agentproxy, "config", "show", "--config", "/nowhere"); out.code != 2 || out.stdout != "" {
		t.Errorf("exit code %d, %s", out.code, out.stdout)
	}
	if out := mustRun(t, baseEnv(t), agentproxy, "config", "show"); !strings.Contains(out, "# The configuration file: none; agentproxy config init writes /") {
		t.Error(out)
	}
}

// TestConfigInit writes a file, which changes nothing until it is edited.
func TestConfigInit(t *testing.T) {
	t.Parallel()
	environ := baseEnv(t)
	home := strings.TrimPrefix(environ[1], "HOME=")
	path := filepath.Join(home, ".config", "agentproxy", "config.yaml")
	before := mustRun(t, environ, agentproxy, "config", "show")
	if out := run(t, environ, agentproxy, "config", "init"); out.code != 0 || out.stderr != "agentproxy: wrote "+path+"\n" {
		t.Fatalf("exit code %d, %s", out.code, out.stderr)
	}
	for _, name := range []string{path, filepath.Join(filepath.Dir(path), "agentproxy.schema.json")} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if schema := mustRun(t, environ, agentproxy, "config", "schema"); schema != readFile(t, filepath.Join(filepath.Dir(path), "agentproxy.schema.json")) || schema != readFile(t, "../docs/agentproxy.schema.json") {
		t.Error("config schema, what config init wrote and docs/agentproxy.schema.json differ; run: go run ./cmd/agentproxy config schema > docs/agentproxy.schema.json")
	}
	if out := mustRun(t, environ, agentproxy, "config", "check"); out != path+": no mistakes\n" {
		t.Error(out)
	}
	_, want, _ := strings.Cut(before, "\n")
	if _, got, _ := strings.Cut(mustRun(t, environ, agentproxy, "config", "show"), "\n"); got != want {
		t.Errorf("the file changes what is in force to\n%s", got)
	}
	// A single line can be uncommented.
	text := readFile(t, path)
	writeFile(t, path, []byte(strings.Replace(text, "  #level: info", "  level: debug", 1)))
	if out := mustRun(t, environ, agentproxy, "config", "show"); !regexp.MustCompile(`(?m)^  level: debug +# file, line \d+$`).MatchString(out) {
		t.Error(out)
	}
	edited := readFile(t, path)
	if out := run(t, environ, agentproxy, "config", "init"); out.code != 1 || out.stderr != fmt.Sprintf("agentproxy: %s is there already; name another file, or replace it with --force\n", path) || readFile(t, path) != edited {
		t.Errorf("exit code %d, %s", out.code, out.stderr)
	}
	mustRun(t, environ, agentproxy, "config", "init", "--force")
	if readFile(t, path) != text {
		t.Error("--force does not replace the file")
	}
	// Elsewhere, and nowhere.
	other := filepath.Join(t.TempDir(), "other.yaml")
	mustRun(t, environ, agentproxy, "config", "init", other)
	if readFile(t, other) != text || mustRun(t, environ, agentproxy, "config", "init", "-") != text {
		t.Error("it differs elsewhere")
	}
	if out := run(t, environ, agentproxy, "config", "init", "/nowhere/config.yaml"); out.code != 1 || !strings.Contains(out.stderr, "write /nowhere/config.yaml: no such file or directory; name a file in a directory that can be written") {
		t.Errorf("exit code %d, %s", out.code, out.stderr)
	}
	if out := run(t, []string{"PATH=" + systemPath}, agentproxy, "config", "init"); out.code != 1 || !strings.Contains(out.stderr, "there is no place for the file; name one: agentproxy config init FILE") {
		t.Errorf("exit code %d, %s", out.code, out.stderr)
	}
	if out := run(t, environ, agentproxy, "config", "init", "--force", home); out.code != 1 || out.stderr != "agentproxy: "+home+" is a directory; name a file in it\n" {
		t.Errorf("exit code %d, %s", out.code, out.stderr)
	}
	if out := run(t, environ, agentproxy, "config", "init", "none"); out.code != 2 || !strings.Contains(out.stderr, "none is the word for no file") {
		t.Errorf("exit code %d, %s", out.code, out.stderr)
	}
	// A home whose configurations are kept elsewhere, by a link.
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("config.yaml.moved", path); err != nil {
		t.Fatal(err)
	}
	mustRun(t, environ, agentproxy, "config", "init", "--force")
	if target, err := os.Readlink(path); err != nil || target != "config.yaml.moved" {
		t.Errorf("the link is gone: %v", err)
	}
}
