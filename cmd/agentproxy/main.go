// Agentproxy is a forward proxy that signs the requests of coding agents to ChatGPT, so
// that the agents hold no credential.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/completion"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/usage"
)

func main() {
	// Any command may come to hold a credential.
	cli.HideMemory()
	// net/http logs there what a server sends unasked on an idle connection, which may
	// be a credential.
	log.SetOutput(io.Discard)
	os.Exit(run(os.Args[1:], cli.OSEnvironment(), os.Stdin, os.Stdout, os.Stderr))
}

// run runs the command line args and returns the exit code.
func run(args []string, env cli.Environment, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c := &command{env: env, stdin: stdin, stdout: stdout, stderr: stderr}
	root := newRootCommand(c)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	c.deferred.Flush(err)
	if err == nil {
		return cli.ExitOK
	}
	if code, ok := errors.AsType[cli.ExitError](err); ok {
		return int(code)
	}
	// Joined errors have a line each, and names of files may have several.
	fmt.Fprintf(stderr, "agentproxy: %s\n", cli.Printable(strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")))
	if _, ok := errors.AsType[*config.Error](err); ok {
		return cli.ExitUsage
	}
	if _, ok := errors.AsType[*cli.UsageError](err); ok {
		return cli.ExitUsage
	}
	return cli.ExitFailed
}

// command holds what all commands share.
type command struct {
	env            cli.Environment
	stdin          io.Reader
	stdout, stderr io.Writer
	configName     string // as --config has it
	// The profile to act as, by its name or by the session label of a client.
	profile, label string
	deferred       app.DeferredLog // of the commands that load calls for
}

func newRootCommand(c *command) *cobra.Command {
	root := &cobra.Command{
		Use:           "agentproxy",
		Short:         "Sign requests to ChatGPT, and keep the credential from coding agents",
		Long:          usage.Long,
		Version:       versionText(),
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetIn(c.stdin)
	root.SetOut(c.stdout)
	root.SetErr(c.stderr)
	root.AddCommand(
		newServeCommand(c), newRunCommand(c), newDemoCommand(c), newBackendCommand(c),
		newIdentityCommand(c), newSignCommand(c), newCACommand(c), newEnvCommand(c), newConfigCommand(c),
		newTokenCommand(c), newLoginCommand(c), newLogoutCommand(c), newCheckCommand(c), newTopCommand(c), newExplainCommand(c), newVersionCommand(c),
	)
	root.AddCommand(manCommands()...)
	takeNoArgs(root.Commands())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			setCompletion(c, cmd)
		}
	}
	usage.Group(root)
	usage.Set(root)
	usage.ShowFile(root, c.describeFile)
	completion.SetFiles(root)
	return root
}

// takeNoArgs has the commands that say nothing of arguments take none.
func takeNoArgs(commands []*cobra.Command) {
	for _, cmd := range commands {
		if cmd.Args == nil {
			cmd.Args = cobra.NoArgs
		}
		takeNoArgs(cmd.Commands())
	}
}

// group adds commands to cmd, which does nothing but name those below it.
func group(cmd *cobra.Command, below ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(below...)
	var names []string
	for _, c := range below {
		names = append(names, c.Name())
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return cli.Usagef("name one of %s; see %s --help", strings.Join(names, ", "), cmd.CommandPath())
	}
	return cmd
}

// describeFile returns the path of the configuration file, or why there is none.
func (c *command) describeFile() string {
	path, err := config.Find(c.configName, c.env)
	switch {
	case err != nil:
		return err.Error()
	case path == "" && c.configName == "" && config.DefaultPath(c.env) != "":
		return "none: there is no " + config.DefaultPath(c.env)
	case path == "":
		return "none"
	}
	return path
}

// configFlag adds the flag --config to cmd.
func (c *command) configFlag(cmd *cobra.Command) {
	cmd.Flags().VarP((*cli.FileName)(&c.configName), "config", "c", "configuration `file`, or none; by default AGENTPROXY_CONFIG, else agentproxy/config.yaml in the user's directory of configurations")
}

// listenFlag adds the flag --listen to cmd.
func (c *command) listenFlag(cmd *cobra.Command) {
	cmd.Flags().Func("listen", "`address` of the proxy, host:port or unix:/path, whatever the configuration says", func(s string) error {
		c.env.Flags = map[string]string{"listen": s}
		return nil
	})
}

// loadConfig returns the configuration that the command line names.
func (c *command) loadConfig() (*config.Config, error) {
	path, err := config.Find(c.configName, c.env)
	if err != nil {
		return nil, err
	}
	return config.Load(path, c.env)
}

// agentFlags adds the flags --config and --profile to cmd, which acts as one agent.
func (c *command) agentFlags(cmd *cobra.Command) {
	c.configFlag(cmd)
	cmd.Flags().StringVar(&c.profile, "profile", "", "act as this `profile` of the configuration")
}

// load opens the app of the configuration and the agent that the command line names. Its
// warnings are logged when the command has ended.
func (c *command) load() (*app.App, error) {
	conf, err := c.agentConfig()
	if err != nil {
		return nil, err
	}
	return c.open(conf, false)
}

// agentConfig returns the configuration for the agent that the command line names.
func (c *command) agentConfig() (*config.Config, error) {
	conf, err := c.loadConfig()
	if err != nil {
		return nil, err
	}
	// A profile that this command does not act as must not keep serve from starting.
	if err := app.CheckCommands(conf); err != nil {
		return nil, err
	}
	return conf.For(c.profile, c.label)
}

// open opens the app of a configuration, which changes nothing if readOnly is set.
func (c *command) open(conf *config.Config, readOnly bool) (*app.App, error) {
	return app.Open(conf, app.Options{Env: c.env, Log: c.deferred.Logger(conf.Log, c.stderr), ReadOnly: readOnly})
}

// withApp returns a command that does its work with the app of the configuration that the
// command line names.
func (c *command) withApp(work func(ctx context.Context, a *app.App) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		a, err := c.load()
		if err != nil {
			return err
		}
		defer a.Close()
		return work(cmd.Context(), a)
	}
}
