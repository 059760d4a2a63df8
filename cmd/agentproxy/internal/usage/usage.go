// Package usage says how commands are used: the help, and what is meant by a mistyped word.
package usage

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
)

// Set makes the errors of root and of all commands below it usage errors, which say what a
// mistyped word may mean.
func Set(root *cobra.Command) {
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return cli.Usagef("%w%s", err, flagRemedy(cmd, err))
	})
	setArgs(root)
	for _, cmd := range root.Commands() {
		if cmd.Name() == "help" {
			cmd.Args = func(cmd *cobra.Command, args []string) error {
				found, rest, err := cmd.Root().Find(args)
				if err == nil && len(rest) > 0 {
					return unknownCommand(found, rest[0])
				}
				return err
			}
		}
	}
}

// setArgs makes the errors of the argument checks of cmd and all below it usage errors.
func setArgs(cmd *cobra.Command) {
	check := cmd.Args
	switch {
	case cmd.HasAvailableSubCommands():
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return nil
		}
	case check != nil:
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			err := check(cmd, args)
			if err != nil && len(args) > 0 && cobra.NoArgs(cmd, args) != nil && err.Error() == cobra.NoArgs(cmd, args).Error() {
				err = fmt.Errorf("%s takes no argument such as %.40q", strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" "), args[0])
				if ext := filepath.Ext(args[0]); (ext == ".yaml" || ext == ".yml") && cmd.Flags().Lookup("config") != nil {
					return cli.Usagef("%w; name a configuration with --config", err)
				}
			}
			if err != nil {
				return cli.Usagef("%w; see %s --help", err, cmd.CommandPath())
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		setArgs(sub)
	}
}

// unknownCommand returns the error of a word in place of a command below parent.
func unknownCommand(parent *cobra.Command, word string) error {
	var names []string
	for _, cmd := range parent.Commands() {
		if cmd.IsAvailableCommand() || cmd.Name() == "help" {
			names = append(names, cmd.Name())
		}
	}
	remedy := parent.CommandPath() + " --help lists them"
	if _, err := exec.LookPath(word); (err == nil || word == "codex") && !parent.HasParent() && !strings.ContainsAny(word, `/\`) {
		remedy = "to run the program behind the proxy: agentproxy run -- " + word
	}
	return cli.Usagef("there is no command %q%s", printedWord(parent, word), cli.DidYouMean(word, names, remedy))
}

// printedWord returns a word with the commands that it stands behind, but for the root.
func printedWord(parent *cobra.Command, word string) string {
	if len(word) > 40 {
		word = word[:40] + "…"
	}
	return strings.TrimPrefix(parent.CommandPath()+" "+word, parent.Root().Name()+" ")
}

// flagRemedy returns the end of an error about a flag of cmd.
func flagRemedy(cmd *cobra.Command, err error) string {
	remedy := fmt.Sprintf("see %s --help", cmd.CommandPath())
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok || unknown.GetSpecifiedShortnames() != "" {
		return "; " + remedy
	}
	for _, sub := range cmd.Commands() {
		if !cmd.HasParent() && sub.Flags().Lookup(unknown.GetSpecifiedName()) != nil {
			return fmt.Sprintf("; flags stand behind the command, as in agentproxy %s --%s", sub.Name(), unknown.GetSpecifiedName())
		}
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, "--"+f.Name)
		}
	})
	return cli.DidYouMean("--"+unknown.GetSpecifiedName(), names, remedy)
}
