package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/codes"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/completion"
)

func newExplainCommand(c *command) *cobra.Command {
	return &cobra.Command{
		Use:   "explain [CODE | STATUS]",
		Short: "Say what a code of a refusal means, and what to do",
		Long: `Print what docs/troubleshooting.md says of a code, which a refusal has in its body as
error.code, in the header Proxy-Status, and in the log. Without CODE, list all; with
a status such as 403, those that come with it.`,
		Example:           `  agentproxy explain out_of_scope`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completion.First(codes.Names),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				_, err := fmt.Fprint(c.stdout, codes.List(""))
				return err
			}
			if list := codes.List(args[0]); list != "" && args[0] != "" {
				_, err := fmt.Fprint(c.stdout, list)
				return err
			}
			code, ok := codes.Find(args[0])
			if !ok {
				return cli.Usagef("there is no code %.40q%s", args[0], cli.DidYouMean(args[0], codes.Names(), "agentproxy explain lists them"))
			}
			fmt.Fprintf(c.stdout, "%s (%s)\n\n%s", code.Name, code.Statuses, code.Plain(80))
			return nil
		},
	}
}
