package doctor

import (
	"context"
	"errors"
	"os"
	"runtime"
	"testing"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/proxy/access"
)

// TestCheckClients has each way of letting clients in, and a kernel that cannot
// tell whose they are.
func TestCheckClients(t *testing.T) {
	t.Parallel()
	here := access.Users{uint32(os.Geteuid())}
	works := func(context.Context, access.Users) error { return nil }
	for _, test := range []struct {
		name   string
		listen string
		who    access.Config
		tell   func(context.Context, access.Users) error
		want   string
	}{
		{"a token", "127.0.0.1:8080", access.Config{Token: "sesame"}, nil, OK},
		{"a socket", "unix:/run/proxy.sock", access.Config{}, nil, OK},
		{"its own user", "127.0.0.1:8080", access.Config{Users: access.Users{1000}}, works, OK},
		{"a kernel without sock_diag", "127.0.0.1:8080", access.Config{Users: access.Users{1000}}, func(context.Context, access.Users) error {
			return errors.New("the user of this process cannot be determined")
		}, Warning},
		{"no such system", "127.0.0.1:8080", access.Config{}, nil, Warning},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			k := &checker{env: cli.OSEnvironment(), app: &app.App{Config: &config.Config{Clients: config.Access{Listen: test.listen}}, Clients: test.who}}
			k.checkClients(t.Context(), test.tell)
			if len(k.findings) != 1 || k.findings[0].Status != test.want {
				t.Errorf("%+v, want one that is %s", k.findings, test.want)
			}
			if f := k.findings[0]; (f.Status == Warning) != (f.Remedy != "") {
				t.Errorf("%+v, want a remedy with a warning only", f)
			}
		})
	}
	if runtime.GOOS != "linux" {
		return // checkUsers needs what this system does not have
	}
	if err := checkUsers(t.Context(), here); err != nil {
		t.Error(err)
	}
	if err := checkUsers(t.Context(), access.Users{here[0] + 1}); err == nil {
		t.Error("a connection of this process is another user's")
	}
}
