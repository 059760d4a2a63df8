package config

import (
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
		want := defaults()
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

// TestHomeInPaths has "~" in every path.
func TestHomeInPaths(t *testing.T) {
	t.Parallel()
	const content = `
state_dir: ~/state
identity: {codex_home: ~}
clients: {tokens_file: ~/tokens}
admin_token_file: ~/admin
upstream: {ca_file: ~/ca.pem}
audit: {file: ~/audit}
signer: {use: token, token_file: ~/token, rules: [{path: "/x", use: token, token_file: ~/other}]}
run: {hide: [~/hidden, /~/x]}
profiles:
  - {name: a, labels: [a], identity: {file: ~/id}, signer: {use: token, token_file: ~/of-a}}
`
	src := new(source)
	if err := src.parse([]byte(strings.ReplaceAll(content, "home: ~}", `home: "~"}`))); err != nil {
		t.Fatal(err)
	}
	f := src.decode(defaults)
	if len(src.wrong) > 0 {
		t.Fatal(src.wrong)
	}
	if err := f.expandHome(configtest.Environment(nil)); err != nil {
		t.Fatal(err)
	}
	got := []string{
		f.StateDir, f.Identity.CodexHome, f.Clients.TokensFile, f.AdminTokenFile, f.Upstream.CAFile, f.Audit.File,
		f.Signer.Default.TokenFile, f.Signer.Rules[0].Signer.TokenFile, f.Run.Hide[0], f.Run.Hide[1],
		f.Profiles[0].Identity.File, f.Profiles[0].Signer.Default.TokenFile,
	}
	const home = "/home/somebody"
	want := []string{
		home + "/state", home, home + "/tokens", home + "/admin", home + "/ca.pem", home + "/audit",
		home + "/token", home + "/other", home + "/hidden", "/~/x", home + "/id", home + "/of-a",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	_, err := Load(configtest.Write(t, "state_dir: ~/x\n"), configtest.Environment(map[string]string{"HOME": ""}))
	if err == nil || !strings.Contains(err.Error(), ":1: state_dir: ~ stands for the home directory, but HOME is not set") {
		t.Error(err)
	}
}

// TestByteOrderMark reads a configuration that an editor has put one before.
func TestByteOrderMark(t *testing.T) {
	t.Parallel()
	c, err := Load(configtest.Write(t, "\ufefflisten: 127.0.0.1:1\n"), configtest.Environment(nil))
	if err != nil || c.Clients.Listen != "127.0.0.1:1" {
		t.Errorf("%+v, %v", c, err)
	}
}
