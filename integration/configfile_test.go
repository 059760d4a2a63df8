//go:build linux

package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDefaultConfiguration has a file where it is looked for, and none, for commands that
// are not told of one.
func TestDefaultConfiguration(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{})
	configs := filepath.Join(t.TempDir(), "configs")
	environ := append(baseEnv(t), "XDG_CONFIG_HOME="+configs)
	path := filepath.Join(configs, "agentproxy", "config.yaml")
	if out := run(t, environ, agentproxy, "sign"); out.code != 1 || !strings.Contains(out.stderr, "no ChatGPT log-in") {
		t.Errorf("without a file: exit code %d, %s", out.code, out.stderr)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, []byte(readFile(t, f.config)))
	if out := run(t, environ, agentproxy, "sign"); out.code != 0 || !strings.Contains(out.stdout, "Authorization: AgentAssertion ") {
		t.Errorf("with a file: exit code %d, %s%s", out.code, out.stdout, out.stderr)
	}
	p := f.start(t, environ, agentproxy, "serve")
	eventually(t, "serve to say which file it goes by", func() bool { return strings.Contains(p.log.String(), "configured by "+path) })

	broken := filepath.Join(t.TempDir(), "broken.yaml")
	writeFile(t, broken, []byte("lisen: x\n"))
	for _, test := range []struct {
		name    string
		args    []string
		environ []string
		code    int
		want    string
	}{
		{"--config", []string{"--config", broken}, nil, 2, "broken.yaml:1: there is no key lisen"},
		{"the variable", nil, []string{"AGENTPROXY_CONFIG=" + broken}, 2, "broken.yaml:1: there is no key lisen"},
		{"--config before the variable", []string{"--config", f.config}, []string{"AGENTPROXY_CONFIG=" + broken}, 0, ""},
		{"--config none", []string{"--config", "none"}, nil, 1, "no ChatGPT log-in"},
		{"the variable none", nil, []string{"AGENTPROXY_CONFIG=none"}, 1, "no ChatGPT log-in"},
		{"an empty name", []string{"--config", ""}, nil, 2, "the name is empty; name a file, or none for the defaults"},
		{"an empty variable", nil, []string{"AGENTPROXY_CONFIG="}, 0, ""},
	} {
		out := run(t, append(environ, test.environ...), agentproxy, append([]string{"sign"}, test.args...)...)
		if out.code != test.code || !strings.Contains(out.stderr, test.want) {
			t.Errorf("%s: exit code %d, %s", test.name, out.code, out.stderr)
		}
	}
}

// TestDefaultConfigurationComes has a default file come into being beside a proxy that was
// started without one. Then it is as one that was there, and none is read where none is named.
func TestDefaultConfigurationComes(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{})
	configs := filepath.Join(t.TempDir(), "configs")
	path := filepath.Join(configs, "agentproxy", "config.yaml")
	environ := append(baseEnv(t), "XDG_CONFIG_HOME="+configs, "AGENTPROXY_LISTEN=127.0.0.1:0", "AGENTPROXY_ADMIN=127.0.0.1:0")
	p := f.start(t, environ, agentproxy, "serve")
	none := f.start(t, environ, agentproxy, "serve", "--config", "none")
	p.logs(t, reloaded, func() {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		replaceFile(t, path, "other_hosts: refuse\n") // whole from the beginning
	})
	if want := `"changed":["` + path + `","other_hosts"]`; !strings.Contains(p.log.String(), want) {
		t.Errorf("the log has no %s", want)
	}
	p.logs(t, reloaded, func() { replaceFile(t, path, "other_hosts: tunnel\n") })
	p.logs(t, notUsable, func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	})
	p.logs(t, reloaded, func() { replaceFile(t, path, "other_hosts: refuse\n") })
	none.logs(t, "SIGHUP: renewed", func() { none.hangUpOnce(t) })
	if strings.Contains(none.log.String(), reloaded) {
		t.Errorf("a file was read: %s", none.log)
	}
}

// TestRunKeepsConfiguration has an isolated command try to write what the next run would go
// by: the default configuration, which is not there yet.
func TestRunKeepsConfiguration(t *testing.T) {
	t.Parallel()
	u := newRunUser(t, fixtureConfig{}, runHome{})
	const attack = `
config=$HOME/.config
echo 'scope: {allow: [all]}' >"$config/agentproxy/config.yaml" && echo written
mv "$config/agentproxy" "$config/moved" && echo moved
mv "$config" "$HOME/moved" && echo moved all
rm -rf "$config/agentproxy" 2>/dev/null && echo removed
touch "$config/other" && echo others can be written`
	if out := u.run(t, "always", "sh", "-c", attack); out.stdout != "others can be written\n" {
		t.Errorf("%s%s", out.stdout, out.stderr)
	}
	home := filepath.Join(u.dir, "home")
	entries, err := os.ReadDir(filepath.Join(home, ".config", "agentproxy"))
	if err != nil || len(entries) != 0 {
		t.Errorf("%v, %v", entries, err)
	}
}
