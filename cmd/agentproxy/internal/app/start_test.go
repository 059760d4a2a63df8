package app

import (
	"context"
	"testing"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/configtest"
	"github.com/agentproxy/agentproxy/identity/backend"
)

// registrations is an [Observer] that tells of each agent that is registered.
type registrations struct {
	Unobserved
	agents chan backend.Result
}

// Backend implements [Observer].
func (r registrations) Backend(o backend.Operation, result backend.Result) {
	if o == backend.OperationRegisterAgent {
		r.agents <- result
	}
}

// TestStartRegisters prepares an agent where a signer may use one, and no other.
func TestStartRegisters(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, keys string
		want       bool
	}{
		{"auto", "", true},
		{"assertion", "signer: {use: agent-assertion}\n", true},
		{"bearer", "signer: {use: bearer}\n", false},
		{"a command", "signer: {use: command, command: [echo, x]}\n", false},
		{"a token", "signer: {use: token, token_env: TOKEN}\n", false},
		{"bearer and a rule without an agent", "signer: {use: bearer, rules: [{path: /x, use: none}]}\n", false},
		{"bearer and a rule with an agent", "signer: {use: bearer, rules: [{path: /x, use: agent-assertion}]}\n", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server, keys := configtest.Backend(t)
			c, err := config.Load(configtest.Write(t, keys+test.keys), configtest.Environment(nil))
			if err != nil {
				t.Fatal(err)
			}
			observer := registrations{agents: make(chan backend.Result, 100)}
			a, err := Open(c, Options{Env: configtest.Environment(nil), Log: zerolog.Nop(), Observer: observer})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			a.Start(ctx, "")
			ended := make(chan struct{})
			go func() {
				a.Default.Account.running.Wait()
				close(ended)
			}()
			registered := false
			select {
			case <-observer.agents:
				registered = true
			case <-ended:
			}
			if registered != test.want {
				t.Errorf("an agent was registered: %t, want %t", registered, test.want)
			}
			cancel()
			<-ended
			a.Close()
			if paths := configtest.Registrations(server); !test.want && len(paths) > 0 {
				t.Errorf("registered: %q", paths)
			}
		})
	}
}
