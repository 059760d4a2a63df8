package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

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
