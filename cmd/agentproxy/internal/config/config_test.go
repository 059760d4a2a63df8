package config

import (
	"slices"
	"testing"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/configtest"
	"github.com/agentproxy/agentproxy/proxy"
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
			c.Log != want.Log || c.Limits != proxy.DefaultLimits() || !slices.Equal(c.Agent.OtherHosts.Ports, hosts.DefaultPorts()) || !c.Agent.Identity.Register {
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
