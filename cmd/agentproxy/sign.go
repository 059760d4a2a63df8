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

// renewTimeout bounds the wait for a task that is to be used the next time.
const renewTimeout = 15 * time.Second

func newSignCommand(c *command) *cobra.Command {
	var request signer.Request
	cmd := &cobra.Command{
		Use:   "sign",
		Short: "Print the Authorization header that a request would get",
		Long: `Print the header lines that the proxy would put on a request, one a line. They
hold a credential: an assertion is good for minutes, a token for days. A request
that is out of scope gets none.`,
		Example: `  agentproxy sign | curl -H @- https://chatgpt.com/backend-api/codex/models`,
		Args:    cobra.NoArgs,
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
			if auth.Keep {
				return fmt.Errorf("requests for %s%s are left as they come", request.Host, request.Path)
			}
			if auth.Value == "" {
				return fmt.Errorf("requests for %s%s get no credential", request.Host, request.Path)
			}
			for _, field := range app.CredentialFields(auth) {
				fmt.Fprintf(c.stdout, "%s: %s\n", field[0], field[1])
			}
			if auth.TaskID != "" {
				// Or nobody would replace the task of who calls nothing but this.
				ctx, cancel := context.WithTimeout(ctx, renewTimeout)
				defer cancel()
				_ = a.Default.Account.Agent.RenewTask(ctx, request.Label) // the task that was used does, and the log says why
			}
			return nil
		}),
	}
	c.configFlag(cmd)
	c.profileFlag(cmd)
	cmd.Flags().StringVar(&request.Host, "host", "chatgpt.com", "`host` that the request is for")
	cmd.Flags().StringVar(&request.Method, "method", "GET", "`method` of the request")
	cmd.Flags().StringVar(&request.Path, "path", "/backend-api/codex/responses", "`path` that the request is for")
	cmd.Flags().StringVar(&c.label, "label", "", "session `label` of the client, which may have a profile of its own")
	return cmd
}
