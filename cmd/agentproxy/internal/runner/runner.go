// Package runner runs the command of agentproxy run behind a proxy of its own: it puts the
// app, the isolation and the environment of the command together.
package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/certs"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/admin"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/clientenv"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/codexhome"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/launch"
	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/codex"
	"github.com/agentproxy/agentproxy/internal/safefile"
	"github.com/agentproxy/agentproxy/proxy"
	"github.com/agentproxy/agentproxy/proxy/access"
)

// runLabel is the session label of the command. There is no other client, so one task is
// enough.
const runLabel = "run"

// refreshPatience bounds the wait for a new token before COMMAND starts.
const refreshPatience = 15 * time.Second

// watchAfter is how long a command runs before its log-in is watched for changes. Requests
// see them in any case.
const watchAfter = time.Second

// rootsAfter is how long a command runs before the roots are read that verify servers. The
// first request need not wait for that then, nor a command that ends at once.
const rootsAfter = 50 * time.Millisecond

// Options say how a command is run.
type Options struct {
	ConfigName string // of the configuration, as [config.Find] takes it
	Profile    string // to act as, "" for that of clients without one
	Isolate    string // in place of run.isolate, "" for that
	KeepHome   bool   // leave CODEX_HOME as it is, and isolate nothing
	Anyway     bool   // start the command even if nobody is logged in
	LogFile    string // to append the log to, "" for none

	Env            cli.Environment
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Run runs a command through a proxy of its own, and returns when the command has ended.
// The error is a [cli.ExitError] if the command failed.
func Run(ctx context.Context, args []string, o Options) error {
	// COMMAND would wait for the collector of what the start leaves behind.
	defer app.ReserveHeap(o.Env.Get)()
	path, err := config.Find(o.ConfigName, o.Env)
	if err != nil {
		return err
	}
	conf, err := config.Load(path, o.Env)
	if err != nil {
		return err
	}
	r := &runner{
		options: o, args: args, messages: &cli.Messages{Out: o.Stderr}, observer: &observer{Refusals: admin.NewRefusals()},
		secretVariables: conf.TokenVariables(), secretPaths: conf.SecretPaths(),
	}
	// The command may have the terminal.
	defer r.messages.HoldBack()()
	if r.mode, err = config.ParseIsolation(cmp.Or(o.Isolate, conf.Run.Isolate)); err != nil {
		return cli.Usagef("--isolate %w", err)
	}
	if r.program, err = exec.LookPath(args[0]); err != nil {
		return r.notRun(&launch.StartError{Err: app.LookPathError(args[0], err)})
	}
	if codexhome.IsCodex(args[0]) && codexhome.ChangesLogin(args) && !o.KeepHome {
		return errors.New("agentproxy run keeps the log-in from COMMAND, so Codex can neither log in nor out there: run codex login or logout without agentproxy run, in a shell of your own")
	}
	if conf, err = conf.For(o.Profile, ""); err != nil {
		return err
	}
	return r.runWith(ctx, r.viaShellsProxy(conf))
}

// viaShellsProxy returns the configuration with requests leaving through the proxy of the
// shell's variables, unless the configuration names one or the shell's is this program.
func (r *runner) viaShellsProxy(conf *config.Config) *config.Config {
	via := r.options.Env.First("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
	if via == "" || conf.NamesProxy() {
		return conf
	}
	u := clientenv.ParseProxy(via)
	if u == nil || clientenv.LeadsHere(conf, u) {
		return conf
	}
	u.User = nil
	r.messages.WarnOnce(conf.StateDir, "requests leave through the proxy that HTTPS_PROXY names in this shell, "+u.String()+"; upstream.proxy names another, or \"\" for none")
	return conf.Via(r.options.Env)
}

// runner runs one command.
type runner struct {
	options         Options
	args            []string
	program         string // args[0], found
	mode            config.Isolation
	secretVariables []string // of all profiles
	secretPaths     []string // of all profiles
	messages        *cli.Messages
	observer        *observer
	app             *app.App
	ca              *certs.Authority
	isolation       *launch.Isolation // nil: a private home, or none
	interrupted     bool              // before COMMAND was started
}

func (r *runner) runWith(ctx context.Context, conf *config.Config) (err error) {
	// First, while this process holds no secret.
	if r.mode != config.IsolateOff && !r.options.KeepHome {
		if err := r.isolate(conf.StateDir); err != nil {
			return err
		}
		defer func() {
			if r.isolation != nil {
				err = errors.Join(err, r.isolation.Close())
			}
		}()
	}
	log, closeLog, err := r.logger(conf.Log)
	if err != nil {
		return err
	}
	defer closeLog()
	r.app, err = app.Open(conf, app.Options{
		Env: r.options.Env, Log: log, Observer: r.observer, WatchAfter: watchAfter, LoginInPlace: r.isolation != nil,
	})
	if err != nil {
		return err
	}
	defer r.closeApp()
	if err := r.app.OpenFiles(); err != nil {
		return err
	}
	if !app.IgnoresHangup() { // COMMAND ignores it, too
		defer app.OnHangup(func() { r.app.ReopenFiles() })()
	}
	if r.ca, err = certs.Open(r.app.CAConfig()); err != nil {
		return err
	}
	if err := r.checkLogin(ctx); err != nil {
		return err
	}
	defer r.sumUp()
	return r.serve(ctx)
}

// isolate makes the namespaces, unless they cannot be had and need not be.
func (r *runner) isolate(stateDir string) (err error) {
	command := launch.Command{Stdin: r.options.Stdin, Stdout: r.options.Stdout, Stderr: r.options.Stderr}
	r.isolation, err = launch.Start(command, r.mode == config.IsolateNet, r.warnOfEvent)
	return r.isolationOr(err, stateDir)
}

// isolationOr returns err, unless the command may run without isolation.
func (r *runner) isolationOr(err error, stateDir string) error {
	switch {
	case err == nil:
		return nil
	case !errors.Is(err, launch.ErrUnsupported):
		return err
	case r.mode != config.IsolateAuto:
		return fmt.Errorf("--isolate %s: COMMAND was not started, for it cannot be isolated here: %w; --isolate auto starts it all the same", r.mode, err)
	}
	r.messages.WarnOnce(stateDir, fmt.Sprintf("COMMAND is not isolated: it can read the log-in in your own Codex home. The kernel refuses (%s)", err))
	return nil
}

// warnOfEvent warns of what happened to the log-in while COMMAND ran.
func (r *runner) warnOfEvent(e launch.Event) {
	switch e {
	case launch.LoginReplaced:
		r.messages.Warn("the log-in was replaced from outside while COMMAND ran, and for a moment COMMAND could have read it: run codex login again if you do not trust COMMAND")
	case launch.LoginUnguarded:
		r.messages.Warn("COMMAND was killed: a log-in that is put in place from outside could not be hidden from it any more; start it again")
	case launch.LoginAttempted:
		r.observer.login.Store(true)
	}
}

// checkLogin returns an error if no request of COMMAND could be signed.
func (r *runner) checkLogin(ctx context.Context) error {
	if r.options.Anyway || !r.app.Config.Agent.Signer.UsesLogin() {
		return nil
	}
	agent := r.app.Default.Account.Agent
	if _, err := agent.Account(ctx); err != nil {
		return fmt.Errorf("%w; --anyway starts COMMAND all the same", err)
	}
	expiry, err := agent.TokenExpiry(ctx)
	if err != nil || expiry.IsZero() || r.app.Now().Before(expiry) {
		return nil // an identity may do without a token
	}
	patient, cancel := context.WithTimeout(ctx, refreshPatience)
	defer cancel()
	_, err = agent.AccessToken(patient)
	switch {
	case ctx.Err() != nil:
		r.interrupted = true
		return errInterrupted
	case errors.Is(err, identity.ErrLoginEnded):
		return fmt.Errorf("%w; --anyway starts COMMAND all the same", err)
	}
	return nil
}

// errInterrupted says that COMMAND was not started, for somebody did not want to wait.
var errInterrupted = errors.New("interrupted before COMMAND was started")

// closeApp closes the app. If a token is being renewed, that waits for the answer, in which
// the next refresh token is.
func (r *runner) closeApp() {
	if r.interrupted {
		signal.Reset(os.Interrupt, syscall.SIGTERM) // another one ends the wait
		told := time.AfterFunc(time.Second/5, func() {
			fmt.Fprintln(r.options.Stderr, "agentproxy: waiting for the answer to a refresh, without which the log-in ends; interrupt again to stop anyway")
		})
		defer told.Stop()
	}
	r.app.Close()
}

// serve runs the proxy, and COMMAND behind it.
func (r *runner) serve(ctx context.Context) (err error) {
	var listener net.Listener
	if r.isolation != nil {
		listener = r.isolation.Listener()
	}
	if listener == nil {
		if listener, err = app.Listen("127.0.0.1:0"); err != nil {
			return err
		}
	}
	defer listener.Close()
	token := app.NewToken()
	p := proxy.New(r.app.ProxyConfig(r.ca, access.Config{Token: token, Label: runLabel}))
	serving := make(chan error, 1)
	go func() { serving <- p.Serve(listener) }()
	r.app.Start(ctx, runLabel)
	defer func() {
		// COMMAND has ended, and nobody else knows the token.
		err = errors.Join(err, app.Shutdown(p, app.Canceled()), <-serving)
	}()
	defer r.readRoots(ctx)()
	home, err := codexhome.OpenHome(r.app.Config.StateDir, r.app.Config.Agent.Identity.CodexHome, codex.IsPlaceholder, r.warnOf)
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
		if err := r.isolationOr(err, r.app.Config.StateDir); err != nil {
			return err
		}
	}
	return r.notRun(r.runDirect(ctx, home, listener.Addr().String(), token))
}

// readRoots reads the roots in time, unless stop is called, which waits.
func (r *runner) readRoots(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithTimeout(ctx, rootsAfter)
	var reading sync.WaitGroup
	reading.Go(func() {
		<-ctx.Done()
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			r.app.ReadRoots()
		}
	})
	return func() { cancel(); reading.Wait() }
}

// warnOf warns of an error that does not end COMMAND.
func (r *runner) warnOf(err error) { r.messages.Warn(strings.ReplaceAll(err.Error(), "\n", "; ")) }

// notRun returns the error with which the program ends. If COMMAND could not be started,
// the exit code is that of env(1).
func (r *runner) notRun(err error) error {
	start, ok := errors.AsType[*launch.StartError](err)
	if !ok {
		return err
	}
	message := start.Error()
	if !strings.HasPrefix(message, r.args[0]) {
		message = r.args[0] + ": " + message + "; name a program that can be run here"
	}
	r.messages.Warn("run " + message)
	return cli.ExitError(start.ExitCode())
}

// logger returns the log of the proxy. The terminal is COMMAND's, so only warnings go
// there, each once.
func (r *runner) logger(c config.Log) (log zerolog.Logger, closeLog func(), err error) {
	if r.options.LogFile == "" {
		return app.NewWarnings(c, &runLog{warn: r.messages.Warn}), func() {}, nil
	}
	f, err := os.OpenFile(r.options.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return log, nil, fmt.Errorf("write the log %s: %w; name a file that can be written with --log", r.options.LogFile, safefile.Cause(err))
	}
	return app.NewLogger(c, f), func() { f.Close() }, nil
}
