package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/certs"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/proxy"
	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/signer"
)

// app is what a configuration amounts to: the parts that commands put together.
// serve replaces it when the configuration changes.
type app struct {
	*principal              // whom all clients act as that have no profile
	profiles   []*principal // of the configuration, one by one; nil: refused
	env        cli.Environment
	log        zerolog.Logger
	clock      *identity.Clock
	audit      *auditLog        // nil: off, or not opened yet
	ca         *certs.Authority // nil: not opened yet
	metrics    *metrics
	now        func() time.Time

	// logInForce is the log of the app in force: that of all who live on when an
	// app is replaced.
	logInForce *atomic.Pointer[zerolog.Logger]
	// looking are those who look at the app besides the proxy.
	looking sync.WaitGroup
}

// load reads the configuration that the command line names, for a command that
// says on standard error what goes wrong on the way.
func (c *command) load() (*app, error) {
	config, err := loadConfig(c.configPath, c.env)
	if err != nil {
		return nil, err
	}
	if config, err = c.chosen(config); err != nil {
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

// newApp puts the parts together. What goes on without a request is told to log,
// and what the proxy does is counted in m. The app must be closed.
func newApp(config *config, env cli.Environment, log zerolog.Logger, m *metrics) (*app, error) {
	a := &app{env: env, log: log, metrics: m, now: time.Now, logInForce: new(atomic.Pointer[zerolog.Logger])}
	a.logInForce.Store(&log)
	a.clock = identity.NewClock(a.now, func(offset time.Duration) {
		a.logInForce.Load().Warn().Stringer("offset", offset).Msg("this machine's clock differs from the backend's; time stamps are corrected, but set the clock")
	})
	if err := a.openPrincipals(config, nil); err != nil {
		return nil, err
	}
	return a, nil
}

// next returns the app that is to follow a, for another configuration. It shares
// the parts that are configured the same, with what they know and remember.
func (a *app) next(config *config, log zerolog.Logger) (*app, error) {
	n := &app{env: a.env, log: log, metrics: a.metrics, clock: a.clock, now: a.now, logInForce: a.logInForce}
	if err := n.openPrincipals(config, a); err != nil {
		return nil, err
	}
	if err := n.openAudit(a); err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

// close ends what the app is doing. The contexts given to its parts must have
// ended.
func (a *app) close() {
	a.looking.Wait()
	a.closeAudit()
	a.closePrincipals()
}

func (a *app) caConfig() certs.Config { return a.config.caConfig(a.now) }

func (c *config) caConfig(now func() time.Time) certs.Config {
	return certs.Config{Dir: filepath.Join(c.StateDir, "ca"), Hosts: c.ChatGPT.Hosts, Now: now}
}

// proxyConfig returns the configuration of the proxy, for those whom who lets in.
func (a *app) proxyConfig(ca *certs.Authority, who entrance) proxy.Config {
	config := proxy.Config{
		Intercept:   a.config.intercept,
		OtherHosts:  a.config.other,
		Limits:      a.config.limits,
		Signer:      a.signer,
		Scope:       a.scope,
		Profiles:    a.proxyProfiles(),
		Leaves:      ca,
		Upstream:    a.config.upstream,
		ObserveDate: a.clock.Observe,
		Observe:     a.metrics.observe,
		Log:         a.log,

		Clients: access.Config{Token: who.token, Tokens: who.tokens, Users: who.users, Label: who.label},

		RetryBodyLimit: cmp.Or(a.config.RetryBodyLimit, -1),
	}
	if a.audit != nil {
		config.Audit = a.audit
	}
	return config
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
	if format == "console" || format == "auto" && cli.IsTerminal(w) {
		return zerolog.ConsoleWriter{Out: w, TimeFormat: time.TimeOnly, NoColor: !cli.IsTerminal(w)}
	}
	return w
}

// probe is the request by which is seen whether the proxy can sign.
func (a *app) probe() signer.Request {
	return signer.Request{Host: "chatgpt.com", Method: "POST", Path: "/backend-api/codex/responses", Kind: signer.KindInference}
}

// ready says what kind of credential a request would get now, or why it would
// be refused. It is enough if some clients can be served: the log-in of one
// profile does not take the others out of service.
func (a *app) ready(ctx context.Context) (signer.Scheme, error) {
	var failed error
	for _, p := range a.inUse() {
		scheme, err := a.readyAs(ctx, p)
		if err == nil {
			return scheme, nil
		}
		if failed == nil {
			failed = err
		}
	}
	return "", failed
}

// readyAs is ready for the clients that act as p.
func (a *app) readyAs(ctx context.Context, p *principal) (signer.Scheme, error) {
	auth, err := p.signer.Sign(ctx, a.probe())
	if err == nil {
		err = a.auditable()
	}
	if err != nil {
		return "", err
	}
	return auth.Scheme, nil
}

// inUse returns the principals that clients may come to act as.
func (a *app) inUse() []*principal {
	if a.config.profileForAll() {
		return a.principals()[1:]
	}
	return a.principals()
}

// describe says in a few words as whom the proxy signs, or why it cannot. It
// asks nobody.
func (a *app) describe(ctx context.Context) string {
	n := len(a.config.profiles)
	switch {
	case a.config.profileForAll():
		return fmt.Sprintf("%d profiles", n)
	case n > 0:
		return fmt.Sprintf("%s, or one of %d profiles", a.principal.describe(ctx), n)
	}
	return a.principal.describe(ctx)
}

func (a *principal) describe(ctx context.Context) string {
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
	id, err := a.agent.Identity(ctx)
	if err == nil {
		return fmt.Sprintf("agent %s of workspace %s", id.AgentRuntimeID, account.WorkspaceID)
	}
	if errors.Is(err, identity.ErrTokenLogin) {
		return "the access token of workspace " + account.WorkspaceID
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
