package app

import (
	"os"
	"runtime"
	"slices"
	"testing"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/configtest"
	"github.com/agentproxy/agentproxy/proxy/access"
)

// ownUser returns the user that the tests run as, nil where the system does not tell whose
// a connection is.
func ownUser() access.Users {
	if runtime.GOOS != "linux" {
		return nil
	}
	return access.Users{uint32(os.Geteuid())}
}

func resourcesOf(t *testing.T, c *config.Config) resources {
	t.Helper()
	r, err := openResources(c, os.ReadFile)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestAccess has who is let in at which listener.
func TestAccess(t *testing.T) {
	t.Parallel()
	own := ownUser()
	for _, test := range []struct {
		config         string
		clients, admin access.Users
	}{
		{"", own, own},
		{"listen: '[::1]:8080'\nadmin: localhost:9080", own, own},
		{"clients: {token: a}", nil, own},
		{"admin_token: a", own, nil},
		{"{listen: 0.0.0.0:8080, clients: {token: a}, admin: 0.0.0.0:9080, admin_token: b}", nil, nil},
		{"{listen: 'unix:/a', admin: 'unix:/b'}", nil, nil},
		{"admin: ''", own, nil},
	} {
		c, err := config.Load(configtest.Write(t, test.config), configtest.Environment(nil))
		if err != nil {
			t.Errorf("%s: %v", test.config, err)
			continue
		}
		r := resourcesOf(t, c)
		if !slices.Equal(r.clients.Users, test.clients) || !slices.Equal(r.admin.Users, test.admin) {
			t.Errorf("%s: users %v and %v, want %v and %v", test.config, r.clients.Users, r.admin.Users, test.clients, test.admin)
		}
		if (r.clients.Users == nil) != (test.clients == nil) {
			t.Errorf("%s: everyone is let in: %v", test.config, r.clients.Users == nil)
		}
	}
	if own == nil { // not on Linux
		return
	}
	c, err := config.Load(configtest.Write(t, "clients: {allow_uids: [0, 4294967294]}"), configtest.Environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	r := resourcesOf(t, c)
	if want := append(own, 0, 4294967294); !slices.Equal(r.clients.Users, want) || !slices.Equal(r.admin.Users, own) {
		t.Errorf("users %v and %v, want %v and %v", r.clients.Users, r.admin.Users, want, own)
	}
}

// TestGatewayAccess has who may ask for credentials: nobody that is not named.
func TestGatewayAccess(t *testing.T) {
	t.Parallel()
	own := ownUser()
	for _, test := range []struct {
		config string
		token  string
		users  access.Users
	}{
		{"authz: {listen: '127.0.0.1:9090', token: a}", "a", nil},
		{"authz: {listen: '0.0.0.0:9090', token: a, label_header: X-Agentproxy-Label}", "a", nil},
		{"authz: {listen: 'unix:/a'}", "", nil}, // the socket's mode says who
		{"authz: {listen: 'localhost:9090'}", "", own},
	} {
		c, err := config.Load(configtest.Write(t, test.config), configtest.Environment(nil))
		if err != nil {
			if test.token == "" && own == nil { // whose a connection is cannot be told
				continue
			}
			t.Errorf("%s: %v", test.config, err)
			continue
		}
		if a := resourcesOf(t, c).gateways; a.Token != test.token || !slices.Equal(a.Users, test.users) {
			t.Errorf("%s: token %q, users %v", test.config, a.Token, a.Users)
		}
	}
}
