package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/doctor"
)

func newCheckCommand(c *command) *cobra.Command {
	var asJSON, ready bool
	var request string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check all that a signed request needs, and name remedies",
		Long: `Check all that a signed request needs, from the configuration to the backend's
response, and print a line for each. check registers an identity and a task if
the configuration allows that.

With --request, print whether that request would be signed, and which line of the
configuration decides. Nothing is sent. The method WEBSOCKET is GET with an
upgrade.

With --ready, only ask the running proxy, at its admin listener, whether it can
sign. Use it to probe the health of a container.

The exit code is 1 if a check failed or the request would be refused.`,
		Example: `  agentproxy check
  agentproxy check --request "POST https://chatgpt.com/backend-api/files"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if ready && asJSON {
				return cli.Usagef("--ready and --json exclude each other: --ready prints a line, --json a list")
			}
			if ready && request != "" {
				return cli.Usagef("--ready and --request exclude each other: --ready asks the running proxy, --request asks nobody")
			}
			if ready {
				client, err := c.adminClient()
				if err != nil {
					return err
				}
				scheme, err := client.Ready(cmd.Context())
				if err == nil {
					_, err = fmt.Fprintf(c.stdout, "ready, signs with %s\n", cli.Printable(scheme))
				}
				return err
			}
			findings, err := c.check(cmd.Context(), request)
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(c.stdout)
				enc.SetEscapeHTML(false)
				enc.SetIndent("", "  ")
				if err := enc.Encode(findings); err != nil {
					return err
				}
			} else {
				for _, f := range findings {
					c.printFinding(f)
				}
			}
			if slices.ContainsFunc(findings, func(f doctor.Finding) bool { return f.Status == doctor.Failed }) {
				return cli.ExitError(cli.ExitFailed)
			}
			return nil
		},
	}
	c.configFlag(cmd)
	c.profileFlag(cmd)
	cmd.Flags().BoolVar(&ready, "ready", false, "only ask the running proxy whether it can sign")
	cmd.Flags().StringVar(&request, "request", "", "print whether this `request`, a method and a URL, would be signed")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array in place of lines")
	return cmd
}

// check makes all checks, or the one of a request.
func (c *command) check(ctx context.Context, request string) ([]doctor.Finding, error) {
	path, err := config.Find(c.configName, c.env)
	if err != nil {
		return nil, err
	}
	o := doctor.Options{Path: path, Env: c.env, Open: c.load}
	if request != "" {
		return doctor.Request(ctx, request, o)
	}
	return doctor.Check(ctx, o), nil
}

func (c *command) printFinding(f doctor.Finding) {
	line := fmt.Sprintf("%-8s %-15s %s", f.Status, f.Check, f.Message)
	if f.Remedy != "" {
		line += "; " + f.Remedy
	}
	fmt.Fprintln(c.stdout, cli.Printable(line))
}
