package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
)

func newVersionCommand(c *command) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run: func(*cobra.Command, []string) {
			name := cli.Version()
			if commit := cli.Commit(); commit != "" && name != "devel-"+commit {
				name += " (" + commit + ")"
			}
			fmt.Fprintf(c.stdout, "agentproxy %s %s %s/%s\n", name, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		},
	}
}
