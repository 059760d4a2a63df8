package config

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/configtest"
	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/hosts"
)

func TestConfigFromEnvironment(t *testing.T) {
	t.Parallel()
	path := configtest.Write(t, "listen: nonsense\nadmin: nonsense\nother_hosts: nonsense\nstate_dir: nonsense\n")
	c, err := Load(path, configtest.Environment(map[string]string{
		"AGENTPROXY_LISTEN": "127.0.0.1:1", "AGENTPROXY_ADMIN": "", "AGENTPROXY_STATE_DIR": "/s", "AGENTPROXY_OTHER_HOSTS": "refuse",
	}))
	if err != nil {
		t.Fatal(err)
	}
	if c.Clients.Listen != "127.0.0.1:1" || c.Admin.Listen != "" || c.StateDir != "/s" || !c.Agent.OtherHosts.Refuse {
		t.Errorf("listen %q, admin %q, state_dir %q, other hosts %+v", c.Clients.Listen, c.Admin.Listen, c.StateDir, c.Agent.OtherHosts)
	}
	for name, test := range map[string]struct{ value, want string }{
		"AGENTPROXY_LISTEN":      {"0.0.0.0:1", "0.0.0.0:1 can be reached from other machines, who could then act as you; set clients.token, or listen on 127.0.0.1"},
		"AGENTPROXY_ADMIN":       {"x", `"x" is not host:port, as in 127.0.0.1:8080, nor unix:/path`},
		"AGENTPROXY_OTHER_HOSTS": {"deny", `"deny" is neither tunnel, nor refuse, nor a list of hosts`},
	} {
		_, err := Load("", configtest.Environment(map[string]string{name: test.value}))
		if want := name + ": " + test.want; err == nil || err.Error() != want {
			t.Errorf("%s=%s: %v, want %s", name, test.value, err, want)
		}
	}
}

func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"empty":         "",
		"comment":       "# nothing",
		"marker":        "---\n",
		"null":          "null",
		"null sections": "log:\nsigner:\nchatgpt:\n  hosts:\nother_hosts: tunnel\n",
	} {
		c, err := Load(configtest.Write(t, content), configtest.Environment(nil))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := Defaults()
		if c.Clients.Listen != want.Listen || !slices.Equal(c.Hosts, want.ChatGPT.Hosts) || c.Agent.Signer.Default.Use != want.Signer.Default.Use ||
			c.Log != want.Log || c.Limits != access.DefaultLimits() || !slices.Equal(c.Agent.OtherHosts.Ports, hosts.DefaultPorts()) || !c.Agent.Identity.Register {
			t.Errorf("%s: %+v, want the defaults", name, c)
		}
		if c.StateDir != "/home/somebody/.local/state/agentproxy" || c.Agent.Identity.CodexHome != "/home/somebody/.codex" {
			t.Errorf("%s: state_dir %s, codex_home %s", name, c.StateDir, c.Agent.Identity.CodexHome)
		}
	}
}

func TestConfigValues(t *testing.T) {
	t.Parallel()
	c, err := Load(configtest.Write(t, `
listen: unix:/run/agentproxy.sock
clients: {token: 123}
signer:
  use: agent-assertion
  rules:
    - {host: chatgpt.com, use: command, command: [echo, 1, true]}
other_hosts: []
`), configtest.Environment(map[string]string{"XDG_STATE_HOME": "/state"}))
	if err != nil {
		t.Fatal(err)
	}
	if c.Clients.Token != "123" {
		t.Errorf("the token 123 became %s", c.Clients.Token)
	}
	if got := c.Agent.Signer.Rules[0].Signer.Command; !slices.Equal(got, []string{"echo", "1", "true"}) {
		t.Errorf("command = %q", got)
	}
	if c.Agent.Signer.Default.Use != UseAssertion || c.Agent.Signer.Default.OnFailure != "bearer" {
		t.Errorf("signer = %+v", c.Agent.Signer.Default)
	}
	if !c.Agent.OtherHosts.Refuse || c.Agent.OtherHosts.Only.Match("example.com", "443") {
		t.Errorf("an empty list of other hosts allows some: %+v", c.Agent.OtherHosts)
	}
	if c.StateDir != "/state/agentproxy" {
		t.Errorf("state_dir = %s", c.StateDir)
	}
}

func TestConfigWithoutHome(t *testing.T) {
	t.Parallel()
	nothing := cli.Environment{Lookup: func(string) (string, bool) { return "", false }}
	const want = "configuration: state_dir: neither XDG_STATE_HOME nor HOME is set, so there is no place for the CA; set state_dir"
	if _, err := Load("", nothing); err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
}

// TestHomeInPaths has "~" in every path that a configuration has a key for.
func TestHomeInPaths(t *testing.T) {
	t.Parallel()
	f := new(File)
	paths := fillPaths(t, reflect.ValueOf(f).Elem())
	f.Run.Hide = []string{"~", "/~/x"}
	if len(paths) < 12 {
		t.Fatalf("only %d keys are paths", len(paths))
	}
	if err := f.expandHome(configtest.Environment(nil)); err != nil {
		t.Fatal(err)
	}
	const home = "/home/somebody"
	for name, path := range paths {
		if *path != home+"/x" {
			t.Errorf("%s became %s", name, *path)
		}
	}
	if want := []string{home, "/~/x"}; !slices.Equal(f.Run.Hide, want) {
		t.Errorf("run.hide became %q, want %q", f.Run.Hide, want)
	}
	_, err := Load(configtest.Write(t, "state_dir: ~/x\n"), configtest.Environment(map[string]string{"HOME": ""}))
	if err == nil || !strings.Contains(err.Error(), ":1: state_dir: ~ stands for the home directory, but HOME is not set") {
		t.Error(err)
	}
}

// fillPaths sets all fields in v that are paths by their names, and returns them.
func fillPaths(t *testing.T, v reflect.Value) map[string]*string {
	t.Helper()
	paths := make(map[string]*string)
	isPath := regexp.MustCompile("(File|Dir|Home)$")
	var fill func(name string, v reflect.Value)
	fill = func(name string, v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			v.Set(reflect.New(v.Type().Elem()))
			fill(name, v.Elem())
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			fill(name, v.Index(0))
		case reflect.Struct:
			for field, member := range v.Fields() {
				if field.IsExported() {
					fill(name+"."+field.Name, member)
				}
			}
		case reflect.String:
			if isPath.MatchString(name) {
				paths[name] = v.Addr().Interface().(*string)
				v.SetString("~/x")
			}
		}
	}
	fill("", v)
	return paths
}

// TestByteOrderMark reads a configuration that an editor has put one before.
func TestByteOrderMark(t *testing.T) {
	t.Parallel()
	c, err := Load(configtest.Write(t, "\ufefflisten: 127.0.0.1:1\n"), configtest.Environment(nil))
	if err != nil || c.Clients.Listen != "127.0.0.1:1" {
		t.Errorf("%+v, %v", c, err)
	}
}
