package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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

// completeFiles makes shells complete names of files only for flags whose value the help
// calls a file or a directory, and for commands that use fileArgs.
func completeFiles(root *cobra.Command) {
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			switch name, _ := pflag.UnquoteUsage(f); {
			case f.Name == "config":
				_ = cmd.MarkFlagFilename(f.Name, "yaml", "yml")
			case name == "file":
				_ = cmd.MarkFlagFilename(f.Name)
			case name == "directory":
				_ = cmd.MarkFlagDirname(f.Name)
			}
		})
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(root)
}

// fileArgs completes the arguments of a command that are names of files.
func fileArgs(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

// commandArgs completes a program and its arguments.
func (c *command) commandArgs(_ *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return completion.Programs(c.env.Get("PATH"), typed)
}
