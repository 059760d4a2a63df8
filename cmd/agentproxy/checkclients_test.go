package main

import (
	"context"
	"errors"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/access"
)

// TestCheckClients has each way of letting clients in, and a kernel that cannot
// tell whose they are.
func TestCheckClients(t *testing.T) {
	t.Parallel()
	here := ownUser()
	works := func(context.Context, access.Users) error { return nil }
	for _, test := range []struct {
		name   string
		listen string
		who    entrance
		tell   func(context.Context, access.Users) error
		want   string
	}{
		{"a token", "127.0.0.1:8080", entrance{token: "sesame"}, nil, checkOK},
		{"a socket", "unix:/run/proxy.sock", entrance{}, nil, checkOK},
		{"its own user", "127.0.0.1:8080", entrance{users: access.Users{1000}}, works, checkOK},
		{"a kernel without sock_diag", "127.0.0.1:8080", entrance{users: access.Users{1000}}, func(context.Context, access.Users) error {
			return errors.New("it cannot be told whose process this is")
		}, checkWarning},
		{"no such system", "127.0.0.1:8080", entrance{}, nil, checkWarning},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			k := &checker{app: &app{principal: &principal{config: &config{Listen: test.listen, entrance: test.who}}}}
			k.checkClients(t.Context(), test.tell)
			if len(k.findings) != 1 || k.findings[0].Status != test.want {
				t.Errorf("%+v, want one that is %s", k.findings, test.want)
			}
			if f := k.findings[0]; (f.Status == checkWarning) != (f.Remedy != "") {
				t.Errorf("%+v, want a remedy with a warning only", f)
			}
		})
	}
	if here == nil {
		return // tellUser needs what this system does not have
	}
	if err := tellUser(t.Context(), here); err != nil {
		t.Error(err)
	}
	if err := tellUser(t.Context(), access.Users{here[0] + 1}); err == nil {
		t.Error("a connection of this process is another user's")
	}
}
