package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/integration/chatgpttest"
	"github.com/agentproxy/agentproxy/internal/safefile"
)

func newBackendCommand(c *command) *cobra.Command {
	var b backendOptions
	cmd := &cobra.Command{
		Use:   "backend",
		Short: "Run the stand-in ChatGPT backend by itself, for local tests",
		Long: `Run a stand-in for the ChatGPT backend. It checks assertions and tokens as the
real backend does, and answers Codex's requests. It writes a log-in that it knows,
its CA and the configuration of an agentproxy that uses them into --dir. When it
ends, it forgets everything.`,
		Example: `  agentproxy backend --dir /tmp/standin &
  agentproxy run --config /tmp/standin/agentproxy.yaml -- codex exec "say hi"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.backend(cmd.Context(), b)
		},
	}
	cmd.Flags().StringVar(&b.address, "listen", "127.0.0.1:8443", "`address` to listen on")
	cmd.Flags().StringVar(&b.dir, "dir", "", "`directory` for its log-in, CA and configuration, made if it is missing (default: ./agentproxy-backend)")
	cmd.Flags().StringVar(&b.without, "without", "", "`protocol` of registration that it lacks: accounts or backend")
	cmd.Flags().BoolVar(&b.inferenceOnly, "inference-only", false, "reject assertions outside of codex/responses")
	return cmd
}

// backendOptions are the flags of agentproxy backend.
type backendOptions struct {
	address, dir  string
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
	without := map[string]chatgpttest.Generation{
		"accounts": chatgpttest.SecondGeneration, "backend": chatgpttest.FirstGeneration, "": chatgpttest.AnyGeneration,
	}
	missing, ok := without[b.without]
	if !ok {
		return cli.Usagef("--without %s: it is accounts or backend", b.without)
	}
	if dir == "" {
		dir = "agentproxy-backend"
	}
	dir, err := filepath.Abs(dir)
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
	config, err := writeBackendHome(dir, server)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.stderr, "agentproxy: stand-in backend on %s; use it with --config %s\n", server.Addr(), config)
	<-ctx.Done()
	return nil
}

// writeBackendHome writes the files that a proxy needs to use server, and returns the path
// of the configuration.
func writeBackendHome(dir string, server *chatgpttest.Server) (string, error) {
	home := filepath.Join(dir, "codex-home")
	if err := os.MkdirAll(home, 0o700); err != nil {
		return "", fmt.Errorf("make the directory %s: %w; name one that can be written with --dir", home, safefile.Cause(err))
	}
	login := server.Login(chatgpttest.Account{})
	config := filepath.Join(dir, "agentproxy.yaml")
	// The configuration is the last: scripts wait for it.
	for _, file := range []struct {
		path    string
		content []byte
		mode    os.FileMode
	}{
		{filepath.Join(dir, "backend-ca.pem"), server.CertPEM(), 0o644},
		{filepath.Join(home, "auth.json"), login.AuthJSON(), 0o600},
		{config, backendConfig(dir, home, server.Addr()), 0o644},
	} {
		if err := safefile.Write(file.path, file.content, file.mode); err != nil {
			return "", fmt.Errorf("write %s: %w; name a directory that can be written with --dir", file.path, safefile.Cause(err))
		}
	}
	return config, nil
}

// backendConfig returns the configuration of a proxy whose ChatGPT is at address.
func backendConfig(dir, home, address string) []byte {
	return fmt.Appendf(nil, `# An agentproxy whose ChatGPT is the stand-in backend at %[3]s.
listen: 127.0.0.1:8080
state_dir: %[1]q
identity:
  codex_home: %[2]q
upstream:
  connect_to:
    "chatgpt.com:443": %[3]q
    "*.chatgpt.com:443": %[3]q # ab.chatgpt.com too, which takes Codex's telemetry
    "chat.openai.com:443": %[3]q
    "auth.openai.com:443": %[3]q
    "auth.api.openai.org:443": %[3]q
  ca_file: %[4]q
other_hosts: refuse
`, filepath.Join(dir, "state"), home, address, filepath.Join(dir, "backend-ca.pem"))
}
