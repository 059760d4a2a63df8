package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/runner"
)

func newRunCommand(c *command) *cobra.Command {
	o := runner.Options{Env: c.env, Stdin: c.stdin, Stdout: c.stdout, Stderr: c.stderr}
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND...",
		Short: "Run COMMAND through a private proxy, and keep the log-in from it",
		Long: `Start a proxy on a free loopback port with a token of its own, and run COMMAND
with the variables that point it there. Proxy and token end with COMMAND.

On Linux COMMAND runs in namespaces of its own (--isolate). Your files are where
they are, but auth.json reads as a placeholder. Hidden are agentproxy's own files,
the homes of other profiles, and the sockets of the keyring and of terminal
multiplexers. sudo does not work there. All that COMMAND starts ends with it.

Where the kernel does not allow namespaces, and on other systems, COMMAND gets a
private CODEX_HOME that links to your own and has a placeholder for auth.json. A
program that reads your own home then finds the log-in. Use a container or another
user to prevent that.

  auto    namespaces where the kernel allows them, else a private CODEX_HOME
  always  namespaces, or COMMAND is not started
  net     the same, with no network but the proxy: other_hosts is binding
  off     a private CODEX_HOME

If COMMAND has the terminal, messages wait until it has ended. --log names a file
for all of them.`,
		Example: `  agentproxy run -- codex
  agentproxy run --isolate net -- codex exec "say hi"
  agentproxy run -- sh -c 'curl -s https://chatgpt.com/backend-api/codex/models'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("name the command to run, as in: agentproxy run -- codex")
			}
			return nil
		},
		ValidArgsFunction: c.commandArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.ConfigName, o.Profile = c.configName, c.profile
			return runner.Run(cmd.Context(), args, o)
		},
	}
	c.agentFlags(cmd)
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().StringVar(&o.Isolate, "isolate", "", "`mode` that keeps COMMAND from the log-in: auto, always, net or off; by default run.isolate")
	cmd.Flags().BoolVar(&o.KeepHome, "keep-codex-home", false, "leave CODEX_HOME as it is, credentials included, and isolate nothing")
	cmd.Flags().BoolVar(&o.Anyway, "anyway", false, "start COMMAND even if nobody is logged in")
	cmd.Flags().StringVar(&o.LogFile, "log", "", "append the log to this `file`")
	_ = cmd.RegisterFlagCompletionFunc("isolate", cobra.FixedCompletions([]string{"auto", "always", "net", "off"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}
