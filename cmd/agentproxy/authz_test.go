package main

import (
	"slices"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/access"
)

// TestAuthzEntrance has who may ask for credentials: nobody that is not named.
func TestAuthzEntrance(t *testing.T) {
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
		c, err := loadConfig(writeConfig(t, test.config), testEnvironment(nil))
		if err != nil {
			if test.token == "" && own == nil { // whose a connection is cannot be told
				continue
			}
			t.Errorf("%s: %v", test.config, err)
			continue
		}
		if c.authzEntrance.token != test.token || !slices.Equal(c.authzEntrance.users, test.users) {
			t.Errorf("%s: token %q, users %v", test.config, c.authzEntrance.token, c.authzEntrance.users)
		}
	}
}
