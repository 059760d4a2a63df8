package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/agentproxy/agentproxy/certs"
	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/proxy"
	"github.com/agentproxy/agentproxy/signer"
)

// app is what a configuration amounts to: the parts that commands put together.
type app struct {
	config    *config
	home      *identity.Home
	store     identity.Store
	backend   *identity.Backend
	transport *http.Transport // of the program's own requests
	clock     *identity.Clock
	agent     *identity.Agent
	signer    signer.Signer
	audit     *proxy.AuditFile // nil: off, or not opened yet
	metrics   *metrics
	now       func() time.Time
}

// load reads the configuration that the command line names, for a command that
// says on standard error what goes wrong on the way.
func (c *command) load() (*app, error) {
	config, err := loadConfig(c.configPath, c.env)
	if err != nil {
		return nil, err
	}
	format := config.Log.Format
	if format == "auto" {
		format = "console" // it is for the person who runs the command
	}
	c.notes.out = logWriter(format, c.stderr)
	log := atLeastWarn(config.Log)
	log.Format = "json"
	return newApp(config, c.env, newLogger(log, &c.notes), newMetrics())
}

// withApp returns a command that does its work with the app of the configuration
// that the command line names.
func (c *command) withApp(work func(ctx context.Context, a *app) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		a, err := c.load()
		if err != nil {
			return err
		}
		defer a.close()
		return work(cmd.Context(), a)
	}
}

// newApp puts the parts together. What the agent does on its own is told to log,
// and what the proxy does is counted in m.
// The app must be closed.
func newApp(config *config, env environment, log zerolog.Logger, m *metrics) (*app, error) {
	a := &app{config: config, now: time.Now, metrics: m}
	a.clock = identity.NewClock(a.now, func(offset time.Duration) {
		log.Warn().Stringer("offset", offset).Msg("this machine's clock differs from the backend's; time stamps are corrected, but set the clock")
	})
	a.home = identity.OpenHome(config.Identity.CodexHome).WithKeyring()
	a.store = identity.NewFileStore(filepath.Join(config.StateDir, "identity.json"))
	switch {
	case config.Identity.File != "":
		a.store = identity.NewGivenFile(config.Identity.File)
	case config.Identity.Store == storeKeyring:
		a.store = identity.NewKeyringStore(config.StateDir)
	}
	a.transport = proxy.NewTransport(config.upstream)
	a.backend = identity.NewBackend(identity.BackendConfig{
		BaseURL:    config.ChatGPT.BaseURL,
		RefreshURL: env.get("CODEX_REFRESH_TOKEN_URL_OVERRIDE"),
		Transport:  a.transport,
		Clock:      a.clock,
		ABOM:       identity.NewABOM(versionName(), "cli", runtime.GOOS),
		Observe:    a.metrics.observeBackend,
	})
	a.agent = identity.NewAgent(identity.AgentConfig{
		Home:        a.home,
		WorkspaceID: config.Identity.WorkspaceID,
		StateDir:    config.StateDir,
		Store:       a.store,
		Backend:     a.backend,
		Register:    config.Identity.Register,
		Clock:       a.clock,
		Notify: func(e identity.Event) {
			if errors.Is(e.Err, context.Canceled) {
				return // it is this program that ends
			}
			event := log.Info()
			if e.Err != nil {
				event = log.Warn().AnErr("error", e.Err)
			}
			event.Msg(e.Message)
		},
	})
	var err error
	if a.signer, err = config.newSigner(a.agent, env, a.now, a.metrics.count); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

// close ends what the app is doing. The contexts given to its parts must have
// ended.
func (a *app) close() {
	a.agent.Close()
	a.transport.CloseIdleConnections()
}

func (a *app) caConfig() certs.Config {
	return certs.Config{Dir: filepath.Join(a.config.StateDir, "ca"), Hosts: a.config.ChatGPT.Hosts, Now: a.now}
}

// newProxy returns the proxy of the configuration, for those whom who lets in.
func (a *app) newProxy(ca *certs.Authority, who entrance, log zerolog.Logger) *proxy.Proxy {
	config := proxy.Config{
		Intercept:   a.config.intercept,
		OtherHosts:  a.config.other,
		Limits:      a.config.limits,
		Signer:      a.signer,
		Leaves:      ca,
		Upstream:    a.config.upstream,
		ObserveDate: a.clock.Observe,
		Observe:     a.metrics.observe,
		Log:         log,

		ClientToken:  who.token,
		ClientTokens: who.tokens,
		ClientUsers:  who.users,

		RetryBodyLimit: cmp.Or(a.config.RetryBodyLimit, -1),
	}
	if a.audit != nil {
		config.Audit = a.audit
	}
	return proxy.New(config)
}

// atLeastWarn returns c without what is not a warning.
func atLeastWarn(c logConfig) logConfig {
	if level, _ := zerolog.ParseLevel(c.Level); level < zerolog.WarnLevel {
		c.Level = zerolog.LevelWarnValue
	}
	return c
}

// newLogger returns the log that goes to w.
func newLogger(c logConfig, w io.Writer) zerolog.Logger {
	level, err := zerolog.ParseLevel(c.Level)
	if err != nil {
		level = zerolog.InfoLevel
	}
	return zerolog.New(logWriter(c.Format, w)).Level(level).With().Timestamp().Logger()
}

// logWriter writes log events to w in a format.
func logWriter(format string, w io.Writer) io.Writer {
	if format == "console" || format == "auto" && isTerminal(w) {
		return zerolog.ConsoleWriter{Out: w, TimeFormat: time.TimeOnly, NoColor: !isTerminal(w)}
	}
	return w
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// probe is the request by which is seen whether the proxy can sign.
func (a *app) probe() signer.Request {
	return signer.Request{Host: "chatgpt.com", Path: "/backend-api/codex/responses"}
}

// ready says what kind of credential a request would get now, or why it would
// be refused.
func (a *app) ready(ctx context.Context) (signer.Scheme, error) {
	auth, err := a.signer.Sign(ctx, a.probe())
	if err == nil {
		err = a.auditable()
	}
	if err != nil {
		return "", err
	}
	return auth.Scheme, nil
}

// describe says in a few words as whom the proxy signs, or why it cannot. It
// asks nobody.
func (a *app) describe(ctx context.Context) string {
	switch a.config.Signer.Default.Use {
	case useCommand:
		return "whatever the configured command prints"
	case useToken:
		return "whoever the configured token stands for"
	}
	account, err := a.agent.Account(ctx)
	if err != nil {
		return "nobody yet (" + err.Error() + ")"
	}
	if a.config.Signer.Default.Use == useBearer {
		return "the log-in of workspace " + account.WorkspaceID
	}
	if id, err := a.agent.Identity(ctx); err == nil {
		return fmt.Sprintf("agent %s of workspace %s", id.AgentRuntimeID, account.WorkspaceID)
	}
	if a.config.Identity.Register {
		return fmt.Sprintf("an agent of workspace %s, to be registered", account.WorkspaceID)
	}
	return "the log-in of workspace " + account.WorkspaceID + ", which has no agent identity"
}

// drainTimeout bounds how long exchanges may run on after SIGTERM.
const drainTimeout = 30 * time.Second

// shutdown drains p, and cuts what has not ended when the time is over or
// hurry is done.
func shutdown(p *proxy.Proxy, hurry context.Context) error {
	ctx, cancel := context.WithTimeout(hurry, drainTimeout)
	defer cancel()
	err := p.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return nil // cut as announced
	}
	return err
}
