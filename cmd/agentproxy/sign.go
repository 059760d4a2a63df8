package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/signer"
)

// renewTimeout bounds the wait for the task of the next request.
const renewTimeout = 15 * time.Second

func newSignCommand(c *command) *cobra.Command {
	var request signer.Request
	cmd := &cobra.Command{
		Use:   "sign",
		Short: "Print the Authorization header that a request would get",
		Long: `Print the header lines that the proxy would put on a request. They hold a
credential: an assertion is valid for minutes, a token for days. A request that is
out of scope gets none.`,
		Example: `  agentproxy sign | curl -H @- https://chatgpt.com/backend-api/codex/models`,
		RunE: c.withApp(func(ctx context.Context, a *app.App) error {
			request.Label = c.label
			request.Host = strings.ToLower(request.Host)
			if !a.Config.Agent.Intercept.Match(request.Host, "443") {
				return cli.Usagef("%s is not signed for; chatgpt.hosts lists the hosts that are", request.Host)
			}
			v := a.Judge(ctx, signer.Query{Host: request.Host, Port: "443", Method: request.Method, Path: request.Path})
			if err := v.Err(); err != nil {
				return err
			}
			request.Kind = v.Kind
			auth, err := signer.Authorize(ctx, a.Default.Signer, request)
			if err != nil {
				return err
			}
			if auth.PassThrough {
				return fmt.Errorf("requests for %s%s are left as they come", request.Host, request.Path)
			}
			if auth.Value == "" {
				return fmt.Errorf("requests for %s%s get no credential", request.Host, request.Path)
			}
			header := auth.Header()
			for _, name := range []string{"Authorization", "ChatGPT-Account-ID", "X-OpenAI-Fedramp"} {
				if value := header.Get(name); value != "" {
					fmt.Fprintf(c.stdout, "%s: %s\n", name, value)
				}
			}
			if auth.TaskID != "" {
				// Otherwise nobody would replace the task where nothing but sign is used.
				ctx, cancel := context.WithTimeout(ctx, renewTimeout)
				defer cancel()
				_ = a.Default.Account.Agent.RenewTask(ctx, request.Label) // the present task serves, and the log has the reason
			}
			return nil
		}),
	}
	c.agentFlags(cmd)
	cmd.Flags().StringVar(&request.Host, "host", "chatgpt.com", "`host` that the request is for")
	cmd.Flags().StringVar(&request.Method, "method", "GET", "`method` of the request")
	cmd.Flags().StringVar(&request.Path, "path", "/backend-api/codex/responses", "`path` that the request is for")
	cmd.Flags().StringVar(&c.label, "label", "", "session `label` of the client, which decides on its profile")
	return cmd
}
