// Package app puts together what a configuration amounts to: the log-ins and agents that
// clients act as, the audit log, the listeners, and what a reload replaces.
package app

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/certs"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/identity/backend"
	"github.com/agentproxy/agentproxy/proxy"
	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/access/issued"
	"github.com/agentproxy/agentproxy/proxy/access/workload"
	"github.com/agentproxy/agentproxy/proxy/upstream"
	"github.com/agentproxy/agentproxy/proxy/usage"
	"github.com/agentproxy/agentproxy/signer"
)

// App holds the open parts of a configuration. A [Reloader] replaces it by another when
// the configuration changes. It must be closed.
type App struct {
	Config   *config.Config
	Clients  access.Config // of the proxy's listener
	Admin    access.Config // of the admin listener
	Gateways access.Config // of the endpoint for gateways

	// Default is what clients without a profile act as.
	Default *Principal
	// Profiles has an element for each of Config.Profiles, nil for one that refuses.
	Profiles []*Principal

	Log   zerolog.Logger
	Clock *backend.Clock
	Now   func() time.Time
	CA    *certs.Authority // nil until it is opened

	options  Options
	upstream upstream.Config
	logins   map[string]Login // by profile
	audit    *auditLog        // nil: off, or not opened yet
	usage    *usageFile       // the same
	quotas   *quotaWatch
	labels   *access.LabelBook // of the clients

	issuerRoots [][]byte
	workloads   *workload.Checker // nil: none gets a token
	usedTokens  *workload.Used
	logInForce  *atomic.Pointer[zerolog.Logger]
	readers     sync.WaitGroup // besides the proxy
}

// Options say how an [App] is opened besides what its configuration says.
type Options struct {
	Env      cli.Environment
	Log      zerolog.Logger
	Observer Observer // nil for none
	// WatchAfter is how long the app runs before its log-ins are watched for changes.
	WatchAfter time.Duration
	// LoginInPlace is whether auth.json is written in place instead of replaced, because
	// something is mounted over it.
	LoginInPlace bool
	// ReadOnly has the app change nothing: no file, and nothing that the backend keeps.
	ReadOnly bool
}

// Observer is told what the parts of an [App] do. Its methods are called concurrently.
type Observer interface {
	// Exchange is told of an exchange that has ended.
	Exchange(proxy.Outcome)
	// Backend is told of a request of the proxy's own.
	Backend(backend.Operation, backend.Result)
	// Signer returns a signer that passes on to s, so that the observer sees the results.
	// The name is that of the configuration.
	Signer(name string, s signer.Renewer) signer.Renewer
	// Usage is told what a response says it used.
	Usage(usage.Entry)
	// Quota is told what a response says of the limits of a profile's account.
	Quota(profile string, q usage.Quota)
	// Reloaded is told whether a reload changed anything, or why it was rejected.
	Reloaded(changed bool, err error)
}

// Unobserved is an [Observer] that does nothing.
type Unobserved struct{}

var _ Observer = Unobserved{}

// Exchange implements [Observer].
func (Unobserved) Exchange(proxy.Outcome) {}

// Backend implements [Observer].
func (Unobserved) Backend(backend.Operation, backend.Result) {}

// Signer implements [Observer].
func (Unobserved) Signer(_ string, s signer.Renewer) signer.Renewer { return s }

// Usage implements [Observer].
func (Unobserved) Usage(usage.Entry) {}

// Quota implements [Observer].
func (Unobserved) Quota(string, usage.Quota) {}

// Reloaded implements [Observer].
func (Unobserved) Reloaded(bool, error) {}

// Open opens the parts of a configuration.
func Open(c *config.Config, o Options) (*App, error) {
	return open(c, o, cli.ReadFile)
}

// open is [Open] with a function that reads the files that keys name.
func open(c *config.Config, o Options, read readFile) (*App, error) {
	r, err := openResources(c, read)
	if err != nil {
		return nil, err
	}
	if o.Observer == nil {
		o.Observer = Unobserved{}
	}
	a := newApp(c, r, o)
	a.Now, a.logInForce, a.quotas = time.Now, new(atomic.Pointer[zerolog.Logger]), new(quotaWatch)
	a.labels = access.NewLabelBook(a.Now)
	a.usedTokens = workload.NewUsed()
	a.openExchange(nil)
	a.logInForce.Store(&a.Log)
	a.Clock = backend.NewClock(a.Now, func(offset time.Duration) {
		log := a.logInForce.Load()
		if offset.Abs() > backend.MaxClockOffset {
			log.Error().Stringer("offset", offset).Msg("this machine's clock and the backend's differ by too much to be corrected for, so that signatures are refused; set the clock")
			return
		}
		log.Warn().Stringer("offset", offset).Msg("this machine's clock differs from the backend's; time stamps are corrected, but set the clock")
	})
	if err := a.openPrincipals(nil); err != nil {
		return nil, err
	}
	return a, nil
}

func newApp(c *config.Config, r resources, o Options) *App {
	a := &App{Config: c, Clients: r.clients, Admin: r.admin, Gateways: r.gateways, upstream: r.upstream, logins: r.logins, Log: o.Log, options: o, issuerRoots: r.issuerRoots}
	if dir := c.Clients.IssuedDir; dir != "" {
		a.Clients.Issued = issued.Open(dir, time.Now, func(err error) {
			a.logInForce.Load().Warn().AnErr("error", err).Msg("issued tokens cannot be checked; clients that show one are refused")
		}).Shared(c.Clients.IssuedKey, c.Clients.IssuedRevoked)
	}
	return a
}

// next returns the app that follows a with another configuration. It shares the parts
// whose configuration is the same, with all that they remember.
func (a *App) next(c *config.Config, r resources, log zerolog.Logger) (*App, error) {
	o := a.options
	o.Log = log
	n := newApp(c, r, o)
	n.Clock, n.Now, n.logInForce, n.quotas, n.labels = a.Clock, a.Now, a.logInForce, a.quotas, a.labels
	n.usedTokens = a.usedTokens
	if is, was := c.Clients, a.Config.Clients; is.IssuedDir == was.IssuedDir && is.IssuedKey == was.IssuedKey && is.IssuedRevoked == was.IssuedRevoked {
		n.Clients.Issued = a.Clients.Issued // which remembers what was revoked
	}
	n.openExchange(a)
	if err := n.openPrincipals(a); err != nil {
		return nil, err
	}
	if err := n.openFiles(a); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// ReadRoots reads the certificates that verify servers, which the first handshake with one
// would do. It takes some ten milliseconds.
func (a *App) ReadRoots() {
	if a.upstream.RootCAs != nil {
		a.upstream.RootCAs()
		return
	}
	_, _ = x509.SystemCertPool() // crypto/tls keeps it; if it fails, so do handshakes
}

// Close ends the app's background work and waits for it. The contexts that its parts were
// given must have ended.
func (a *App) Close() {
	a.readers.Wait()
	a.closeFiles()
	a.closePrincipals()
}

// CAConfig returns the configuration of the certificate authority.
func (a *App) CAConfig() certs.Config { return caConfig(a.Config, a.Now) }

func caConfig(c *config.Config, now func() time.Time) certs.Config {
	return certs.Config{Dir: filepath.Join(c.StateDir, "ca"), Hosts: c.Hosts, Now: now}
}

// ProxyConfig returns the configuration of a proxy that lets in clients, and whose leaves
// are of ca.
func (a *App) ProxyConfig(ca *certs.Authority, clients access.Config) proxy.Config {
	c := a.Config
	p := proxy.Config{
		Intercept:   c.Agent.Intercept,
		OtherHosts:  c.Agent.OtherHosts,
		Limits:      c.Limits,
		Rates:       c.Agent.Rates,
		Signer:      a.Default.Signer,
		Scope:       a.Default.Scope,
		Profiles:    a.proxyProfiles(),
		Leaves:      ca,
		Upstream:    a.upstream,
		ObserveDate: a.Clock.Observe,
		Observe:     a.options.Observer.Exchange,
		Log:         a.Log,

		Clients:      clients,
		Labels:       a.labels,
		ObserveQuota: a.observeQuota,

		RetryBodyLimit: cmp.Or(c.RetryBodyLimit, -1),
	}
	if a.audit != nil {
		p.Audit = a.audit
	}
	if a.usage != nil {
		p.ObserveUsage = a.observeUsage
	}
	return p
}

// Upstream returns how servers are reached.
func (a *App) Upstream() upstream.Config { return a.upstream }

// Ready returns the scheme of the credential that a request would get now, or why the
// request would be refused. One principal that can sign is enough: the log-in of one
// profile does not take the others out of service. Ready asks the signers, and so it
// registers what is missing, as a request would.
func (a *App) Ready(ctx context.Context) (signer.Scheme, error) {
	var failed error
	for _, p := range a.InUse() {
		auth, err := p.Signer.Sign(ctx, probe)
		if err == nil {
			err = a.Auditable()
		}
		if err == nil {
			return auth.Scheme, nil
		}
		if failed == nil {
			failed = err
		}
	}
	return "", failed
}

// probe is the request for which readiness is found out.
var probe = signer.Request{Host: "chatgpt.com", Method: "POST", Path: "/backend-api/codex/responses", Kind: signer.KindInference}

// DrainTimeout bounds how long exchanges may go on after SIGTERM.
const DrainTimeout = 30 * time.Second

// Shutdown drains p, and cuts what has not ended after [DrainTimeout] or when hurry is
// done.
func Shutdown(p *proxy.Proxy, hurry context.Context) error {
	ctx, cancel := context.WithTimeout(hurry, DrainTimeout)
	defer cancel()
	err := p.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return nil // cut as announced
	}
	return err
}

// Canceled returns a context that has ended.
func Canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
