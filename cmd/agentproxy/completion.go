package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/completion"
)

// setCompletion has the commands below "completion" print the scripts of package completion.
func setCompletion(c *command, cmd *cobra.Command) {
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return cli.Usagef("name one of bash, fish, powershell, zsh; see %s --help", cmd.CommandPath())
	}
	for _, shell := range cmd.Commands() {
		shell.RunE = func(cmd *cobra.Command, _ []string) error {
			plain, _ := cmd.Flags().GetBool("no-descriptions")
			script, err := completion.Script(cmd.Root(), cmd.Name(), !plain)
			if err == nil {
				_, err = fmt.Fprint(c.stdout, script)
			}
			return err
		}
	}
}

// commandArgs completes a program and its arguments.
func (c *command) commandArgs(_ *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return completion.Programs(c.env.Get("PATH"), typed)
}
