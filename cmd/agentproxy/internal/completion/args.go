package completion

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// SetFiles makes shells complete names of files only for flags whose value the help calls a
// file or a directory, and for commands that use [Files].
func SetFiles(root *cobra.Command) {
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

// Files completes arguments that are names of files.
func Files(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

// YAML completes the one argument of a command that is the name of a YAML file.
func YAML(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return []cobra.Completion{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

// First completes the one argument of a command with words.
func First(words func() []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return words(), cobra.ShellCompDirectiveNoFileComp
	}
}
