package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/admin"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/top"
)

func newTopCommand(c *command) *cobra.Command {
	var once bool
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show what the running proxy is doing",
		Long: `Show what the page of the admin listener shows: as whom the proxy signs, how much
it has to do, what is in flight, the latest requests, and what was refused or out
of scope, with the reason. On a terminal the view is renewed every two seconds;
arrows scroll it, p pauses it, q leaves it. Elsewhere it is printed once.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := c.adminClient()
			if err != nil {
				return err
			}
			colour := cli.Colour(c.stdout, c.env.Get)
			in, _ := c.stdin.(*os.File)
			if out, ok := c.stdout.(*os.File); ok && !once && cli.IsTerminal(out) && c.env.Get("TERM") != "dumb" {
				return top.Run(cmd.Context(), client, in, out, colour)
			}
			s, err := client.Status(cmd.Context())
			if err != nil {
				return err
			}
			return top.Print(c.stdout, s, colour)
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "print the view once, also on a terminal")
	c.configFlag(cmd)
	return cmd
}

// adminClient returns a client of the proxy that runs with the configuration.
func (c *command) adminClient() (*admin.Client, error) {
	conf, err := c.loadConfig()
	if err != nil {
		return nil, err
	}
	return admin.NewClient(conf)
}
