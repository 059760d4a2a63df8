package doctor

import (
	"context"
	"errors"
	"os"
	"runtime"
	"testing"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/proxy"
)

// TestCheckClients has each way of letting clients in, and a kernel that cannot
// tell whose they are.
func TestCheckClients(t *testing.T) {
	t.Parallel()
	here := proxy.Users{uint32(os.Geteuid())}
	works := func(context.Context, proxy.Users) error { return nil }
	for _, test := range []struct {
		name   string
		listen string
		who    app.Access
		tell   func(context.Context, proxy.Users) error
		want   string
	}{
		{"a token", "127.0.0.1:8080", app.Access{Token: "sesame"}, nil, OK},
		{"a socket", "unix:/run/proxy.sock", app.Access{}, nil, OK},
		{"its own user", "127.0.0.1:8080", app.Access{Users: proxy.Users{1000}}, works, OK},
		{"a kernel without sock_diag", "127.0.0.1:8080", app.Access{Users: proxy.Users{1000}}, func(context.Context, proxy.Users) error {
			return errors.New("it cannot be told whose process this is")
		}, Warning},
		{"no such system", "127.0.0.1:8080", app.Access{}, nil, Warning},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			k := &checker{app: &app.App{Config: &config.Config{Clients: config.Access{Listen: test.listen}}, Clients: test.who}}
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
	if err := checkUsers(t.Context(), proxy.Users{here[0] + 1}); err == nil {
		t.Error("a connection of this process is another user's")
	}
}
