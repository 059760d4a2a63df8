package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/certs"
	"github.com/agentproxy/agentproxy/proxy"
)

// runLabel is the session label of the command that run runs. It is the one
// client, so that no other task is needed.
const runLabel = "run"

func newRunCommand(c *command) *cobra.Command {
	var keepHome bool
	var logFile string
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND...",
		Short: "Start a private proxy, run COMMAND through it, exit with its code",
		Long: `Start a proxy on a free loopback port, with a token of its own that dies with
it, and run COMMAND with the variables that point it there. COMMAND finds a
CODEX_HOME that is the user's own but for auth.json, which is a placeholder, and
none of the variables that signer.token_env names.

Warnings go to standard error; --log names a file for everything.`,
		Example: `  agentproxy run -- codex
  agentproxy run -- codex exec "say hi"
  agentproxy run -- sh -c 'curl -s https://chatgpt.com/backend-api/codex/models'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("name the command to run, as in: agentproxy run -- codex")
			}
			return nil
		},
		ValidArgsFunction: fileArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			config, err := loadConfig(c.configPath, c.env)
			if err != nil {
				return err
			}
			secret := config.tokenVariables()
			if config, err = c.chosen(config); err != nil {
				return err
			}
			log, closeLog, err := c.runLogger(config.Log, logFile)
			if err != nil {
				return err
			}
			defer closeLog()
			a, err := newApp(config, c.env, log, newMetrics())
			if err != nil {
				return err
			}
			defer a.close()
			if err := a.openAudit(nil); err != nil {
				return err
			}
			defer onHangup(log, a.reopenAudit)()
			return c.runThrough(cmd.Context(), a, args, keepHome, secret)
		},
	}
	c.configFlag(cmd)
	c.profileFlag(cmd)
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().BoolVar(&keepHome, "keep-codex-home", false, "leave CODEX_HOME as it is, credentials included")
	cmd.Flags().StringVar(&logFile, "log", "", "append the log to this `file`")
	return cmd
}

// runLogger returns the log of a private proxy. The terminal is COMMAND's, so
// only what went wrong is said there.
func (c *command) runLogger(config logConfig, file string) (log zerolog.Logger, closeLog func(), err error) {
	if file == "" {
		return newLogger(atLeastWarn(config), c.stderr), func() {}, nil
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return log, nil, fmt.Errorf("write the log %s: %w; name a file that can be written with --log", file, causeOf(err))
	}
	return newLogger(config, f), func() { f.Close() }, nil
}

// runThrough runs args through a proxy of its own, without the secret variables.
func (c *command) runThrough(ctx context.Context, a *app, args []string, keepHome bool, secret []string) (err error) {
	program, err := exec.LookPath(args[0])
	if err != nil {
		return fmt.Errorf("run %w", lookPathError(args[0], err))
	}
	ca, err := certs.Open(a.caConfig())
	if err != nil {
		return err
	}
	dir, release, err := makeRunDir(a.config.StateDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()

	token := newToken()
	listener, err := listen("127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	clientEnv, err := c.clientEnv(a, ca, runsDir(dir), listener.Addr().String(), runLabel, token)
	if err != nil {
		return err
	}
	environ := clientEnv.apply(withoutVariables(c.env.environ(), secret))
	if !keepHome {
		home, err := privateHome(ctx, a, dir)
		if err != nil {
			return err
		}
		environ = setVariable(environ, "CODEX_HOME", home)
	}

	p := proxy.New(a.proxyConfig(ca, entrance{token: token}))
	serving := make(chan error, 1)
	go func() { serving <- p.Serve(listener) }()
	a.start(ctx, runLabel)
	defer func() {
		// COMMAND is gone, and nobody else knows the token.
		err = errors.Join(err, shutdown(p, canceled()), <-serving)
	}()

	// Not CommandContext: the child gets the signals that end it, and ends as
	// it sees fit.
	child := exec.Command(program, args[1:]...)
	child.Args[0] = args[0]
	child.Env = environ
	child.Stdin, child.Stdout, child.Stderr = c.stdin, c.stdout, c.stderr
	return runChild(child)
}

// newToken returns a token that cannot be guessed.
func newToken() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails, by its documentation
	return hex.EncodeToString(b[:])
}

// exitStatus makes the end of a child that of this program.
func exitStatus(err error) error {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return err
	}
	if code := exit.ExitCode(); code >= 0 {
		return exitError(code)
	}
	return exitError(signalExitCode(exit))
}
