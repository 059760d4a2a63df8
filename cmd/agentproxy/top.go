package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/admin"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
)

func newTopCommand(c *command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show what the running proxy is doing",
		Long: `Show what the page of the admin listener shows: as whom the proxy signs, the
requests in flight, and the last ones that were refused or out of scope, with the
reason. On a terminal the view is renewed every two seconds until Ctrl-C. Elsewhere
it is printed once.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := c.adminClient()
			if err != nil {
				return err
			}
			if f, ok := c.stdout.(*os.File); ok && cli.IsTerminal(f) {
				return admin.Top(cmd.Context(), client, f)
			}
			s, err := client.Status(cmd.Context())
			if err != nil {
				return err
			}
			_, err = s.Text().WriteTo(c.stdout)
			return err
		},
	}
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
