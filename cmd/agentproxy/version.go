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
		Run:   func(*cobra.Command, []string) { fmt.Fprintln(c.stdout, versionText()) },
	}
}

// versionText returns the version, and with what and for what the program was built.
func versionText() string {
	name := cli.Version()
	if commit := cli.Commit(); commit != "" && name != "devel-"+commit {
		name += " (" + commit + ")"
	}
	return fmt.Sprintf("agentproxy %s %s %s/%s", name, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
