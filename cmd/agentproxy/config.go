package main

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/completion"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/configfile"
)

func newConfigCommand(c *command) *cobra.Command {
	return group(&cobra.Command{
		Use:   "config",
		Short: "Check, show or write the configuration file",
		Long: `Check, show or write the configuration file. None is needed. It is the one that
--config names, or else AGENTPROXY_CONFIG, or else agentproxy/config.yaml in the
user's directory of configurations: $XDG_CONFIG_HOME or ~/.config, on macOS
~/Library/Application Support, on Windows %AppData%. --config none is no file.`,
	}, newConfigCheckCommand(c), newConfigShowCommand(c), newConfigInitCommand(c), newConfigSchemaCommand(c))
}

// configFile returns the path of the configuration file that an argument names, or --config.
func (c *command) configFile(args []string) (string, error) {
	name := c.configName
	if len(args) > 0 {
		if name != "" {
			return "", cli.Usagef("--config and FILE name a file each; keep one of them")
		}
		if name = args[0]; name == "" {
			return "", cli.Usagef("the name of the file is empty")
		}
	}
	return config.Find(name, c.env)
}

func newConfigCheckCommand(c *command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Print every mistake in a configuration file",
		Long: `Print every mistake in a configuration file, with its line and column and what to
write instead. The exit code is 2 if there is one. Files and programs that the
configuration names are not looked at, for it may be for another machine;
agentproxy check looks at them.`,
		Example:           `  agentproxy config check config.yaml`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completion.YAML,
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := c.configFile(args)
			if err != nil {
				return err
			}
			mistakes := config.Mistakes(path, c.env)
			for _, m := range mistakes {
				fmt.Fprintln(c.stdout, cli.Printable(m.Place()+": "+m.Err.Error()))
			}
			if len(mistakes) > 0 {
				return cli.ExitError(cli.ExitUsage)
			}
			_, err = fmt.Fprintln(c.stdout, cli.Printable(cmp.Or(path, "no file: the defaults hold"))+": no mistakes")
			return err
		},
	}
	c.configFlag(cmd)
	return cmd
}

func newConfigShowCommand(c *command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show [FILE]",
		Short: "Print the configuration in force, and where each value comes from",
		Long: `Print every key with the value that is in force, as YAML. The comment behind it says
where it comes from: the file and the line, a flag, a variable of the environment,
or the default. Secrets are not shown.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completion.YAML,
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := c.configFile(args)
			if err != nil {
				return err
			}
			conf, err := config.Load(path, c.env)
			if err != nil {
				return err
			}
			path = cmp.Or(path, "none; agentproxy config init writes "+config.DefaultPath(c.env))
			fmt.Fprintln(c.stdout, cli.Printable("# The configuration file: "+path))
			return configfile.Show(c.stdout, conf.Settings(c.env))
		},
	}
	c.configFlag(cmd)
	c.listenFlag(cmd)
	return cmd
}

func newConfigInitCommand(c *command) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "init [FILE]",
		Short: "Write a configuration file with every key explained",
		Long: `Write a configuration file that has every key, explained and with its default, in a
comment. Without FILE it is the one that agentproxy reads by default; - is standard
output. The JSON schema is written beside it, by which editors complete keys and
mark mistakes. A file that is there stays, unless --force is given.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completion.YAML,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 && args[0] == "-" {
				_, err := fmt.Fprint(c.stdout, configfile.Template(configfile.SchemaName))
				return err
			}
			path := config.DefaultPath(c.env)
			if len(args) > 0 {
				path = args[0]
			}
			if path == config.None {
				return cli.Usagef("none is the word for no file; to name a file so, write ./none")
			}
			if path == "" {
				return errors.New("neither XDG_CONFIG_HOME nor HOME is set, so there is no place for the file; name one: agentproxy config init FILE")
			}
			if err := configfile.Init(path, len(args) == 0, force); err != nil {
				return err
			}
			fmt.Fprintf(c.stderr, "agentproxy: wrote %s\n", path)
			return nil
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace a file that is there")
	return cmd
}

func newConfigSchemaCommand(c *command) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON schema of the configuration file, for editors",
		RunE: func(*cobra.Command, []string) error {
			_, err := c.stdout.Write(configfile.Schema())
			return err
		},
	}
}
