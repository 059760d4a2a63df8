package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/standin"
	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

func newBackendCommand(c *command) *cobra.Command {
	var b backendOptions
	cmd := &cobra.Command{
		Use:   "backend",
		Short: "Run the stand-in ChatGPT backend by itself, for local tests",
		Long: `Run a stand-in for the ChatGPT backend. It checks assertions and tokens as the
real backend does, and answers Codex's requests. It writes a log-in that it knows,
its CA and the configuration of an agentproxy that uses them into --dir. When it
ends, it forgets everything. To have other machines or containers use it, listen on
0.0.0.0:8443 and give them --dir; --advertise names the host by which they reach it.`,
		Example: `  agentproxy backend --dir /tmp/standin &
  agentproxy run --config /tmp/standin/agentproxy.yaml -- codex exec "say hi"`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.backend(cmd.Context(), b)
		},
	}
	cmd.Flags().StringVar(&b.address, "listen", "127.0.0.1:8443", "`address` to listen on")
	cmd.Flags().StringVar(&b.advertise, "advertise", "", "`host` by which others reach it, for the configuration (default: that of --listen, or for 0.0.0.0 an address of this machine)")
	cmd.Flags().StringVar(&b.dir, "dir", "", "`directory` for its log-in and other credentials, CA and configuration, made if it is missing (default: ./agentproxy-backend)")
	cmd.Flags().StringVar(&b.without, "without", "", "`protocol` of registration that it lacks: accounts or backend")
	cmd.Flags().BoolVar(&b.inferenceOnly, "inference-only", false, "reject assertions outside of codex/responses")
	return cmd
}

// backendOptions are the flags of agentproxy backend.
type backendOptions struct {
	address, dir  string
	advertise     string // host by which others reach it, "" for that of address
	without       string // a protocol, as identity.protocol names it
	inferenceOnly bool
}

func (c *command) backend(ctx context.Context, b backendOptions) error {
	address, dir := b.address, b.dir
	if network, _, err := config.ParseAddress(address); err != nil {
		return cli.Usagef("--listen %w", err)
	} else if network != "tcp" {
		return cli.Usagef("--listen %s: the backend listens on host:port only", address)
	}
	if host := strings.Trim(b.advertise, "[]"); strings.Contains(host, ":") && net.ParseIP(host) == nil {
		return cli.Usagef("--advertise %s: it is a host without a port, which is that of --listen", b.advertise)
	}
	without := map[string]chatgpttest.Generation{
		"accounts": chatgpttest.SecondGeneration, "backend": chatgpttest.FirstGeneration, "": chatgpttest.AnyGeneration,
	}
	missing, ok := without[b.without]
	if !ok {
		return cli.Usagef("--without %s: it is accounts or backend", b.without)
	}
	dir, err := filepath.Abs(cmp.Or(dir, "agentproxy-backend"))
	if err != nil {
		return err
	}
	server, err := chatgpttest.NewServerWith(chatgpttest.Config{
		Addr: address,
		Logf: func(format string, args ...any) { fmt.Fprintf(c.stderr, "backend: "+format+"\n", args...) },
	})
	if err != nil {
		return app.ListenError(address, err, "choose another address with --listen")
	}
	defer server.Close()
	if missing != chatgpttest.AnyGeneration {
		server.SetMissing(missing, http.StatusNotFound)
	}
	server.SetInferenceOnly(b.inferenceOnly)
	config, err := standin.WriteAll(dir, server, standin.Address(server.Addr(), b.advertise))
	if err != nil {
		return err
	}
	fmt.Fprintf(c.stderr, "agentproxy: stand-in backend on %s; use it with --config %s\n", server.Addr(), config)
	<-ctx.Done()
	return nil
}
