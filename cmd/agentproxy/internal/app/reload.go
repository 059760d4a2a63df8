package app

import (
	"context"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/fsnotify/fsnotify"

	"github.com/agentproxy/agentproxy/authz"
	"github.com/agentproxy/agentproxy/certs"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/internal/contain"
	"github.com/agentproxy/agentproxy/proxy"
)

const (
	// reloadSettle is how long after a change the files are read: whoever writes one is
	// likely to write more of it, or another.
	reloadSettle = 200 * time.Millisecond
	// reloadInterval is how often the files are read in any case: not every file system
	// reports changes, and none reports that a link far up leads elsewhere.
	reloadInterval = 5 * time.Second
)

// Reloader puts a changed configuration into force while the proxy runs.
type Reloader struct {
	named   string // as [config.Find] takes it
	path    string // "" without a file
	env     cli.Environment
	stderr  io.Writer   // of the log
	files   fileDigests // of the last try
	applied fileDigests // of the configuration in force
	proxy   *proxy.Proxy
	watcher *fsnotify.Watcher // nil if the system has none to give
	closing sync.WaitGroup    // apps that are no longer in force and may still be in use
	hangups chan struct{}

	mu  sync.Mutex
	app *App
}

// NewReloader loads the configuration that [config.Find] finds for named and opens its app,
// whose log goes to stderr. The default file counts as soon as there is one.
func NewReloader(named string, env cli.Environment, stderr io.Writer, observer Observer) (*Reloader, error) {
	r := &Reloader{named: named, env: env, stderr: stderr, files: make(fileDigests), hangups: make(chan struct{}, 1)}
	path, c, err := r.load()
	if err != nil {
		return nil, err
	}
	r.path = path
	if r.app, err = open(c, Options{Env: env, Log: NewLogger(c.Log, stderr), Observer: observer}, r.files.read); err != nil {
		return nil, err
	}
	if err := r.app.OpenFiles(); err != nil {
		r.app.Close()
		return nil, err
	}
	r.applied = r.files
	return r, nil
}

// App returns the app in force. It must not be called while Run runs; see [Reloader.Use].
func (r *Reloader) App() *App { return r.app }

// Proxy returns the proxy that is reconfigured.
func (r *Reloader) Proxy() *proxy.Proxy { return r.proxy }

// Use returns the app in force. It is not closed before done is called.
func (r *Reloader) Use() (a *App, done func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.app.readers.Add(1)
	return r.app, r.app.readers.Done
}

// GatewayConfig returns the configuration in force of the endpoint for gateways.
func (r *Reloader) GatewayConfig() authz.Config {
	a, done := r.Use()
	defer done()
	return authz.Config{
		Authorize:   r.proxy.Authorize,
		Token:       a.Gateways.Token,
		Users:       a.Gateways.Users,
		LabelHeader: a.Config.LabelHeader,
		Refused:     r.proxy.NoteRefusal,
		Panicked:    r.LogPanic,
	}
}

// LogPanic logs a mistake of the program on one connection.
func (r *Reloader) LogPanic(e *contain.PanicError) {
	a, done := r.Use()
	defer done()
	a.logPanic(e)
}

// NewProxy opens the certificate authority and returns the proxy of the app in force.
func (r *Reloader) NewProxy() (*proxy.Proxy, error) {
	var err error
	if r.app.CA, err = certs.Open(r.app.CAConfig()); err != nil {
		return nil, err
	}
	r.proxy = proxy.New(r.app.ProxyConfig(r.app.CA, r.app.Clients))
	return r.proxy, nil
}

// Watch begins to watch the files. Call it before log-ins are watched, of which there may be
// more than the system can watch.
func (r *Reloader) Watch() {
	var err error
	if r.watcher, err = fsnotify.NewWatcher(); err != nil {
		r.app.Log.Warn().AnErr("error", err).Msg("changes of the configuration are seen within seconds, not at once")
	}
}

// Hangup makes Run renew all that can be renewed without a restart. It does not wait.
func (r *Reloader) Hangup() {
	select {
	case r.hangups <- struct{}{}:
	default: // it is about to
	}
}

// Run reloads whenever files have changed and after [Reloader.Hangup], until ctx ends.
func (r *Reloader) Run(ctx context.Context) {
	if r.watcher != nil {
		defer r.watcher.Close()
	}
	for ctx.Err() == nil {
		if r.files.changed() { // perhaps while nobody watched
			r.reload(ctx)
		}
		r.await(ctx)
	}
}

// Close closes the app in force, and waits for the others to be closed. The proxy must
// have been shut down.
func (r *Reloader) Close() {
	r.closing.Wait()
	r.app.Close()
}

// await returns when the files are to be read.
func (r *Reloader) await(ctx context.Context) {
	events, errs, files := r.watchFiles()
	if r.files.changed() {
		return // before they were watched
	}
	interval := time.NewTimer(reloadInterval)
	defer interval.Stop()
	var settled <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.hangups:
			r.renew(ctx)
			return
		case event := <-events:
			// Links are made, renamed and removed. A write counts if it is to one of the
			// files.
			linked := event.Has(fsnotify.Create | fsnotify.Remove | fsnotify.Rename)
			if settled == nil && (linked || files[event.Name]) {
				settled = time.After(reloadSettle)
			}
		case <-errs:
			return
		case <-settled:
			return
		case <-interval.C:
			return
		}
	}
}

// watchFiles watches the directories that the files are in now. The files are read now
// and then in any case.
func (r *Reloader) watchFiles() (events chan fsnotify.Event, errs chan error, files map[string]bool) {
	dirs, files := r.files.watched()
	if r.watcher == nil {
		return nil, nil, files
	}
	for dir := range dirs {
		_ = r.watcher.Add(dir)
	}
	for _, dir := range r.watcher.WatchList() {
		if !dirs[dir] {
			_ = r.watcher.Remove(dir)
		}
	}
	return r.watcher.Events, r.watcher.Errors, files
}

// renew renews all that can be renewed without a restart.
func (r *Reloader) renew(ctx context.Context) {
	log := r.app.Log
	Notify(log, daemon.SdNotifyReloading)
	defer Notify(log, daemon.SdNotifyReady)
	reopened := r.app.ReopenFiles()
	if r.reload(ctx) && reopened {
		r.app.Log.Info().Msg("SIGHUP: renewed")
	}
}

// reload puts the configuration into force that the files hold now. If it cannot be used,
// the former configuration stays.
func (r *Reloader) reload(ctx context.Context) bool {
	r.files = make(fileDigests)
	changed, err := r.replace(ctx)
	r.app.options.Observer.Reloaded(len(changed) > 0, err)
	if outOfDescriptors(err) {
		r.app.Log.Warn().AnErr("error", err).Msg("the configuration cannot be read, because the system has no descriptor for a file; the former stays in force")
		return false
	}
	if err != nil {
		r.app.Log.Error().AnErr("error", err).Msg("the configuration cannot be used; the former stays in force")
		return false
	}
	if len(changed) > 0 {
		r.app.Log.Info().Strs("changed", changed).Msg("configuration reloaded")
	}
	return true
}

// load returns the configuration and the file that it is from. A file that was in force
// is not forgotten where it is removed: what it refused would be allowed.
func (r *Reloader) load() (path string, c *config.Config, err error) {
	if path = r.path; path == "" {
		if path, err = config.Find(r.named, r.env); err != nil {
			return "", nil, err
		}
		if awaited := config.DefaultPath(r.env); path == "" && awaited != "" && !config.IsNone(r.named, r.env) {
			_, _ = r.files.read(awaited)
		}
	}
	c, err = config.LoadWith(path, r.env, r.files.read)
	return path, c, err
}

// replace replaces the app in force if keys or files have changed, and returns those.
func (r *Reloader) replace(ctx context.Context) (changed []string, err error) {
	path, c, err := r.load()
	if err != nil {
		return nil, err
	}
	former := r.app
	if err := former.Config.CheckReload(c); err != nil {
		return nil, err
	}
	// First, so that the files that it reads are watched, whatever else is wrong.
	opened, err := openResources(c, r.files.read)
	if err != nil {
		return nil, err
	}
	ca, err := certs.Load(caConfig(c, former.Now))
	if err != nil {
		return nil, err
	}
	if ca.Certificate().Equal(former.CA.Certificate()) {
		ca = former.CA // with the certificates that it has issued
	} else {
		changed = append(changed, ca.Path())
	}
	if path != r.path {
		changed = append(changed, path)
	}
	changed = append(changed, config.Changed(former.Config, c)...)
	changed = append(changed, r.changedFiles(path)...)
	if err := keepTokens(&opened.clients, former.Clients); err != nil {
		return nil, c.Wrong("clients.tokens_file", err)
	}
	if len(changed) == 0 {
		return nil, nil
	}
	log := former.Log
	if c.Log != former.Config.Log {
		log = NewLogger(c.Log, r.stderr)
	}
	next, err := former.next(c, opened, log)
	if err != nil {
		return nil, err
	}
	next.CA = ca
	r.path = path
	r.enforce(ctx, next)
	return changed, nil
}

// changedFiles returns the files besides the configuration itself that hold something
// else than those of the configuration in force.
func (r *Reloader) changedFiles(configuration string) (paths []string) {
	for _, path := range slices.Sorted(maps.Keys(r.files)) {
		if before, ok := r.applied[path]; path != configuration && ok && before != r.files[path] {
			paths = append(paths, path)
		}
	}
	return paths
}

// enforce puts next in the place of the app in force, which is closed when nobody uses it
// any more.
func (r *Reloader) enforce(ctx context.Context, next *App) {
	next.Start(ctx, "")
	next.logInForce.Store(&next.Log)
	former := r.app
	r.mu.Lock()
	r.app = next
	r.mu.Unlock()
	r.applied = r.files
	released := r.proxy.Reconfigure(next.ProxyConfig(next.CA, next.Clients))
	r.closing.Go(func() {
		<-released
		former.Close()
	})
}
