package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/doctor"
)

func newCheckCommand(c *command) *cobra.Command {
	var asJSON, ready, fix bool
	var request string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Find what is wrong, and name remedies",
		Long: `Look at all that a signed request needs, from the configuration to the backend's
response, and print a line for each, with a command that mends what is wrong.

check changes nothing: it registers no agent, refreshes no token and writes no
file. It sends a request of its own, signed with what is there. With --fix, it
mends what is safe to mend and says what it did: modes of your own files, a
missing CA, and what killed runs have left. The log-in keeps its content.

With --request, print whether that request would be signed, and which line of the
configuration decides. Nothing is sent. The method WEBSOCKET is GET with an
upgrade.

With --ready, only ask the running proxy, at its admin listener, whether it can
sign. Use it to probe the health of a container.

The exit code is 1 if a check failed or the request would be refused, and 2 if the
configuration cannot be used.`,
		Example: `  agentproxy check
  agentproxy check --fix
  agentproxy check --request "POST https://chatgpt.com/backend-api/files"`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case ready && (asJSON || fix || request != ""):
				return cli.Usagef("--ready takes no other flag: it prints one line, about the running proxy")
			case fix && request != "":
				return cli.Usagef("--fix and --request exclude each other: --request makes no checks that could be mended")
			case ready:
				return c.checkReady(cmd.Context())
			}
			report, err := c.check(cmd.Context(), request, fix)
			if err != nil {
				return err
			}
			style := doctor.StyleFor(c.stdout, c.env)
			if asJSON {
				style = doctor.JSON
			}
			return errors.Join(report.Render(c.stdout, style), report.Err())
		},
	}
	c.agentFlags(cmd)
	cmd.Flags().BoolVar(&ready, "ready", false, "only ask the running proxy whether it can sign")
	cmd.Flags().BoolVar(&fix, "fix", false, "mend what is safe to mend, and say what was done")
	cmd.Flags().StringVar(&request, "request", "", "print whether this `request`, a method and a URL, would be signed")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array in place of lines")
	return cmd
}

// check makes all checks, or the one of a request.
func (c *command) check(ctx context.Context, request string, fix bool) (doctor.Report, error) {
	path, err := config.Find(c.configName, c.env)
	if err != nil {
		return doctor.Report{}, err
	}
	o := doctor.Options{ConfigName: c.configName, Path: path, Profile: c.profile, Env: c.env, Load: c.agentConfig}
	o.Open = func(conf *config.Config) (*app.App, error) { return c.open(conf, true) }
	switch {
	case request != "":
		return doctor.Request(ctx, request, o)
	case fix:
		return doctor.Repair(ctx, o), nil
	}
	return doctor.Check(ctx, o), nil
}

// checkReady asks the running proxy whether it can sign.
func (c *command) checkReady(ctx context.Context) error {
	client, err := c.adminClient()
	if err != nil {
		return err
	}
	scheme, err := client.Ready(ctx)
	if err == nil {
		_, err = fmt.Fprintf(c.stdout, "ready, signs with %s\n", cli.Printable(scheme))
	}
	return err
}
