//go:build linux

package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEnvShells has shells call agentproxy env as its help says, without a word about which
// they are, use the proxy, and take the variables away again.
func TestEnvShells(t *testing.T) {
	t.Parallel()
	p := newFixture(t, fixtureConfig{}).serve(t)
	environ := append(baseEnv(t), "AGENTPROXY_LISTEN="+p.addr, "AGENTPROXY_CONFIG="+p.fixture.config, "AGENTPROXY="+agentproxy)
	const ask = `curl -s -o /dev/null -w "%{http_code} " ` + backendAPI + `/test/echo`
	for name, command := range map[string][]string{
		// SHELL is another one, as in a shell that was started in it.
		"bash": {"bash", "--norc", "-c", `eval "$($AGENTPROXY env)"; ` + ask + `; eval "$($AGENTPROXY env --unset)"; env`},
		"zsh":  {"zsh", "-f", "-c", `eval "$($AGENTPROXY env)"; ` + ask + `; eval "$($AGENTPROXY env --unset)"; env`},
		"sh":   {"sh", "-c", `eval "$($AGENTPROXY env)"; ` + ask + `; eval "$($AGENTPROXY env --unset)"; env`},
		"fish": {"fish", "--no-config", "-c", `$AGENTPROXY env | source; ` + ask + `; $AGENTPROXY env --unset | source; env`},
	} {
		shell := "/usr/bin/fish"
		if name == "fish" {
			shell = "/bin/bash"
		}
		p.fixture.backend.ResetRequests()
		out := mustRun(t, append(environ, "SHELL="+shell), systemProgram(t, command[0]), command[1:]...)
		if !strings.HasPrefix(out, "200 ") || len(p.fixture.backend.Requests()) == 0 {
			t.Errorf("%s: %.200q", name, out)
		}
		if left := regexp.MustCompile(`(?im)^(\w*_proxy|\w*_CERT\w*|\w*CA_\w*|NODE_\w+)=.*`).FindString(out); left != "" {
			t.Errorf("%s: %s is left", name, left)
		}
	}
}

// TestEnvForms has each way in which env writes its variables, and what it refuses.
func TestEnvForms(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{})
	p := f.start(t, baseEnv(t), agentproxy, "serve", "--config", f.config)
	environ := append(baseEnv(t), "AGENTPROXY_LISTEN="+p.addr, "AGENTPROXY_CONFIG="+f.config)
	for _, shell := range []string{"bash", "zsh", "sh"} {
		if out := run(t, environ, agentproxy, "env", "--shell", shell); !strings.HasPrefix(out.stdout, "export HTTPS_PROXY='http://"+p.addr+"'\n") || out.stderr != "" {
			t.Errorf("%s: %s%s", shell, out.stdout, out.stderr)
		}
	}
	// The parent of env is no shell here, so SHELL tells.
	for shell, want := range map[string]string{
		"/usr/bin/fish": "set -gx HTTPS_PROXY 'http://", "/bin/zsh": "export HTTPS_PROXY='http://", "/opt/pwsh": "$env:HTTPS_PROXY = 'http://", "": "export HTTPS_PROXY='http://",
	} {
		if out := mustRun(t, append(environ, "SHELL="+shell), agentproxy, "env"); !strings.HasPrefix(out, want) {
			t.Errorf("SHELL=%s: %.80s", shell, out)
		}
	}
	if out := mustRun(t, environ, agentproxy, "env", "--shell", "cmd"); !strings.HasPrefix(out, `set "HTTPS_PROXY=http://`+p.addr+"\"\n") {
		t.Error(out)
	}
	dotenv := mustRun(t, append(environ, "SHELL=/bin/tcsh"), agentproxy, "env", "--format", "dotenv")
	var object map[string]string
	if err := json.Unmarshal([]byte(mustRun(t, environ, agentproxy, "env", "--format", "json")), &object); err != nil {
		t.Fatal(err)
	}
	if len(object) != strings.Count(dotenv, "\n") || len(object) < 20 {
		t.Errorf("%d variables in JSON, %s", len(object), dotenv)
	}
	for name, value := range object {
		if !strings.Contains("\n"+dotenv, "\n"+name+"="+value+"\n") {
			t.Errorf("%s=%s is not in\n%s", name, value, dotenv)
		}
	}
	for want, args := range map[string][]string{
		"--format yaml: it is none of shell, dotenv, json":                      {"--format", "yaml"},
		"--shell and --format json exclude each other":                          {"--format", "json", "--shell", "fish"},
		"--unset and --format dotenv exclude each other":                        {"--format", "dotenv", "--unset"},
		"--shell tcsh: it is none of bash, zsh, sh, fish, powershell, cmd":      {"--shell", "tcsh"},
		"the syntax of tcsh is not known; name another with --shell: bash, zsh": {},
	} {
		if out := run(t, append(environ, "SHELL=/bin/tcsh"), agentproxy, append([]string{"env"}, args...)...); out.code != 2 || !strings.Contains(out.stderr, want) || out.stdout != "" {
			t.Errorf("%s: exit code %d, %s%s", args, out.code, out.stdout, out.stderr)
		}
	}

	// Nobody listens there. The variables are printed all the same: serve may come.
	const warning = "agentproxy: nobody listens on 127.0.0.1:1 yet, and programs with these variables reach nothing; run: agentproxy serve\n"
	nobody := append(environ, "AGENTPROXY_LISTEN=127.0.0.1:1")
	if out := run(t, nobody, agentproxy, "env"); out.code != 0 || out.stderr != warning || !strings.HasPrefix(out.stdout, "export ") {
		t.Errorf("exit code %d, %s", out.code, out.stderr)
	}
	// What takes them away needs no configuration, and makes nothing.
	bare := append(baseEnv(t), "AGENTPROXY_CONFIG=/nowhere")
	if out := run(t, bare, agentproxy, "env", "--unset"); out.code != 0 || !strings.HasPrefix(out.stdout, "unset HTTPS_PROXY\n") || out.stderr != "" {
		t.Errorf("exit code %d, %s%s", out.code, out.stdout, out.stderr)
	}
	if entries, err := os.ReadDir(filepath.Join(strings.TrimPrefix(bare[1], "HOME="))); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v", entries, err)
	}
}
