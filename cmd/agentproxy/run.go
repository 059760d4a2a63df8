package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/certs"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/codexhome"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/launch"
	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/proxy"
)

// runLabel is the session label of the command that run runs. It is the one
// client, so that no other task is needed.
const runLabel = "run"

// refreshPatience bounds the wait for a new token before COMMAND starts.
const refreshPatience = 15 * time.Second

// watchAfter is how long a command runs before its log-in is watched for changes.
// Requests see them all the same.
const watchAfter = time.Second

// runFlags are the flags of run.
type runFlags struct {
	isolate  string
	keepHome bool
	anyway   bool
	logFile  string
}

func newRunCommand(c *command) *cobra.Command {
	var flags runFlags
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND...",
		Short: "Run COMMAND through a private proxy, and keep the log-in from it",
		Long: `Start a proxy on a free loopback port, with a token of its own that dies with
it, and run COMMAND with the variables that point it there.

On Linux COMMAND runs in namespaces of its own (--isolate): your files are where
they are, but auth.json reads as a placeholder, and agentproxy's own files, other
profiles' homes and the sockets of the keyring and of terminal multiplexers are
hidden. sudo does not work there. Whatever COMMAND starts ends with it.

Where the kernel does not allow that, and on other systems, COMMAND gets a private
CODEX_HOME that links to your own and has a placeholder for auth.json. A program
that looks into your own home finds the log-in then; use a container, or another
user, to keep it from that.

  auto    namespaces where the kernel allows them, else a private CODEX_HOME
  always  namespaces, or COMMAND is not started
  net     the same, with no network but the proxy: other_hosts is binding
  off     a private CODEX_HOME

What there is to say is said when COMMAND has ended, if it has the terminal; --log
names a file for everything.`,
		Example: `  agentproxy run -- codex
  agentproxy run --isolate net -- codex exec "say hi"
  agentproxy run -- sh -c 'curl -s https://chatgpt.com/backend-api/codex/models'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("name the command to run, as in: agentproxy run -- codex")
			}
			return nil
		},
		ValidArgsFunction: fileArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.run(cmd.Context(), flags, args)
		},
	}
	c.configFlag(cmd)
	c.profileFlag(cmd)
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().StringVar(&flags.isolate, "isolate", "", "how COMMAND is kept from the log-in: `mode` auto, always, net or off; by default run.isolate")
	cmd.Flags().BoolVar(&flags.keepHome, "keep-codex-home", false, "leave CODEX_HOME as it is, credentials included, and isolate nothing")
	cmd.Flags().BoolVar(&flags.anyway, "anyway", false, "start COMMAND even if nobody is logged in")
	cmd.Flags().StringVar(&flags.logFile, "log", "", "append the log to this `file`")
	_ = cmd.RegisterFlagCompletionFunc("isolate", cobra.FixedCompletions([]string{"auto", "always", "net", "off"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// run runs args through a proxy of its own.
func (c *command) run(ctx context.Context, flags runFlags, args []string) error {
	config, err := loadConfig(c.configPath, c.env)
	if err != nil {
		return err
	}
	r := &runner{command: c, flags: flags, args: args, secretVariables: config.tokenVariables(), secretPaths: config.secretPaths(c.configPath)}
	// What is said on the way waits for COMMAND's end.
	defer c.holdBack()()
	if r.mode, err = launch.ParseMode(config.Run.Isolate); flags.isolate != "" {
		r.mode, err = launch.ParseMode(flags.isolate)
	}
	if err != nil {
		return cli.Usagef("--isolate %w", err)
	}
	if r.program, err = exec.LookPath(args[0]); err != nil {
		return r.notRun(&launch.StartError{Err: lookPathError(args[0], err)})
	}
	if codexhome.IsCodex(args[0]) && codexhome.ChangesLogin(args) && !flags.keepHome {
		return errors.New("agentproxy run keeps the log-in from COMMAND, so Codex can neither log in nor out there: run codex login or logout without agentproxy run, in a shell of your own")
	}
	if config, err = c.chosen(config); err != nil {
		return err
	}
	c.useShellsProxy(config)
	return r.runWith(ctx, config)
}

// runner runs one command.
type runner struct {
	*command
	flags           runFlags
	args            []string
	program         string
	mode            launch.Mode
	secretVariables []string
	secretPaths     []string
	app             *app
	ca              *certs.Authority
	isolation       *launch.Isolation // nil: a private home, or none
}

func (r *runner) runWith(ctx context.Context, config *config) (err error) {
	// First, for this process holds no secret yet.
	if r.mode != launch.Off && !r.flags.keepHome {
		if err := r.isolate(); err != nil {
			return err
		}
		defer func() {
			if r.isolation != nil {
				err = errors.Join(err, r.isolation.Close())
			}
		}()
	}
	config.loginInPlace = r.isolation != nil
	config.watchAfter = watchAfter
	log, closeLog, err := r.logger(config.Log)
	if err != nil {
		return err
	}
	defer closeLog()
	if r.app, err = newApp(config, r.env, log, newMetrics()); err != nil {
		return err
	}
	defer r.app.close()
	if err := r.app.openAudit(nil); err != nil {
		return err
	}
	defer onHangup(log, r.app.reopenAudit)()
	if r.ca, err = certs.Open(r.app.caConfig()); err != nil {
		return err
	}
	if err := r.checkLogin(ctx); err != nil {
		return err
	}
	defer r.sumUp()
	return r.serve(ctx)
}

// isolate makes the namespaces, unless they cannot be had and need not be.
func (r *runner) isolate() (err error) {
	command := launch.Command{Stdin: r.stdin, Stdout: r.stdout, Stderr: r.stderr}
	r.isolation, err = launch.Start(command, r.mode == launch.Net, r.tellEvent)
	return r.isolationOr(err)
}

// isolationOr returns err, unless the command may run without isolation.
func (r *runner) isolationOr(err error) error {
	switch {
	case err == nil:
		return nil
	case !errors.Is(err, launch.ErrUnsupported):
		return err
	case r.mode != launch.Auto:
		return fmt.Errorf("--isolate %s: COMMAND was not started, for it cannot be isolated here: %w; --isolate auto starts it all the same", r.mode, err)
	}
	state := r.stateDir()
	r.warnOnce(state, fmt.Sprintf("COMMAND is not isolated: it can read the log-in in your own Codex home. The kernel refuses (%s)", err))
	return nil
}

func (r *runner) stateDir() string {
	if r.app != nil {
		return r.app.config.StateDir
	}
	dir, _ := defaultStateDir(r.env) // if there is none, it is said each time
	return dir
}

// tellEvent says what happened to the log-in while COMMAND ran.
func (r *runner) tellEvent(e launch.Event) {
	switch e {
	case launch.LoginReplaced:
		r.warn("the log-in was replaced from outside while COMMAND ran, and for a moment COMMAND could have read it: run codex login again if you do not trust COMMAND")
	case launch.LoginUnguarded:
		r.warn("COMMAND was killed: a log-in that is put in place from outside could not be hidden from it any more; start it again")
	case launch.LoginAttempted:
		r.warn("COMMAND tried to log in or out; Codex does that outside of agentproxy run, in a shell of your own")
	}
}

// checkLogin refuses to start COMMAND where no request of its could be signed.
func (r *runner) checkLogin(ctx context.Context) error {
	if r.flags.anyway {
		return nil
	}
	switch r.app.config.Signer.Default.Use {
	case useToken, useCommand:
		return nil
	}
	if _, err := r.app.agent.Account(ctx); err != nil {
		return fmt.Errorf("%w; --anyway starts COMMAND all the same", err)
	}
	expiry, err := r.app.agent.TokenExpiry(ctx)
	if err != nil || expiry.IsZero() || r.app.now().Before(expiry) {
		return nil // an identity may do without a token
	}
	ctx, cancel := context.WithTimeout(ctx, refreshPatience)
	defer cancel()
	if _, err := r.app.agent.AccessToken(ctx); errors.Is(err, identity.ErrLoginEnded) {
		return fmt.Errorf("%w; --anyway starts COMMAND all the same", err)
	}
	return nil
}

// serve runs the proxy, and COMMAND behind it.
func (r *runner) serve(ctx context.Context) (err error) {
	var listener net.Listener
	if r.isolation != nil {
		listener = r.isolation.Listener()
	}
	if listener == nil {
		if listener, err = listen("127.0.0.1:0"); err != nil {
			return err
		}
	}
	defer listener.Close()
	token := newToken()
	p := proxy.New(r.app.proxyConfig(r.ca, entrance{token: token, label: runLabel}))
	serving := make(chan error, 1)
	go func() { serving <- p.Serve(listener) }()
	r.app.start(ctx, runLabel)
	defer func() {
		// COMMAND is gone, and nobody else knows the token.
		err = errors.Join(err, shutdown(p, canceled()), <-serving)
	}()
	home, err := codexhome.OpenHome(r.app.config.StateDir, r.app.config.Identity.CodexHome, isPlaceholderFile, r.warnOf)
	if err != nil {
		return err
	}
	defer func() {
		if err := home.Close(); err != nil {
			r.warnOf(err) // COMMAND's exit code says more
		}
	}()
	if r.isolation != nil {
		err := r.runIsolated(ctx, home, listener.Addr().String(), token)
		if !errors.Is(err, launch.ErrUnsupported) {
			return r.notRun(err)
		}
		if err := r.isolationOr(err); err != nil {
			return err
		}
	}
	return r.notRun(r.runDirect(ctx, home, listener.Addr().String(), token))
}

// warnOf says what went wrong beside COMMAND.
func (r *runner) warnOf(err error) { r.warn(strings.ReplaceAll(err.Error(), "\n", "; ")) }

// notRun has the program end as env(1) does if COMMAND could not be started.
func (r *runner) notRun(err error) error {
	start, ok := errors.AsType[*launch.StartError](err)
	if !ok {
		if code, ok := errors.AsType[launch.ExitError](err); ok {
			return cli.ExitError(code)
		}
		return err
	}
	message := start.Error()
	if !strings.HasPrefix(message, r.args[0]) {
		message = r.args[0] + ": " + message + "; name a program that can be run here"
	}
	r.warn("run " + message)
	return cli.ExitError(start.ExitCode())
}

// newToken returns a token that cannot be guessed.
func newToken() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails, by its documentation
	return hex.EncodeToString(b[:])
}

// logger returns the log of a private proxy. The terminal is COMMAND's, so only
// what went wrong is said there, and each thing once.
func (r *runner) logger(config logConfig) (log zerolog.Logger, closeLog func(), err error) {
	if r.flags.logFile == "" {
		config = atLeastWarn(config)
		config.Format = "json"
		return newLogger(config, &runLog{say: r.warn}), func() {}, nil
	}
	f, err := os.OpenFile(r.flags.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return log, nil, fmt.Errorf("write the log %s: %w; name a file that can be written with --log", r.flags.logFile, cli.Cause(err))
	}
	return newLogger(config, f), func() { f.Close() }, nil
}
