package main

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/fsnotify/fsnotify"

	"github.com/agentproxy/agentproxy/certs"
	"github.com/agentproxy/agentproxy/proxy"
)

const (
	// reloadSettle is how long after a change the files are looked at: whoever
	// writes one is likely to write more of it, or another.
	reloadSettle = 200 * time.Millisecond
	// reloadInterval is how often they are looked at in any case: not every file
	// system tells of changes, nor of those by which a link far up leads
	// elsewhere.
	reloadInterval = 5 * time.Second
)

// reloader puts a changed configuration into force while the proxy runs.
type reloader struct {
	command *command
	files   seenFiles // of the last try
	applied seenFiles // of the configuration in force
	proxy   *proxy.Proxy
	metrics *metrics          // of all apps that follow one another
	watcher *fsnotify.Watcher // nil: the system has none to give
	group   sync.WaitGroup    // apps that are no longer in force and may yet be in use

	mu  sync.Mutex
	app *app
}

// use returns the app in force. It is not closed before done is called.
func (r *reloader) use() (a *app, done func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.app.looking.Add(1)
	return r.app, r.app.looking.Done
}

// run reloads at every SIGHUP and whenever files have changed, until ctx ends.
func (r *reloader) run(ctx context.Context, hangups <-chan os.Signal) {
	if r.watcher != nil {
		defer r.watcher.Close()
	}
	for ctx.Err() == nil {
		if r.files.changed() { // perhaps while nobody watched
			r.reload(ctx)
		}
		r.await(ctx, hangups)
	}
}

// close closes the app in force, and waits for the others to be closed. The proxy
// must have been shut down.
func (r *reloader) close() {
	r.group.Wait()
	r.app.close()
}

// await returns when the files are to be looked at.
func (r *reloader) await(ctx context.Context, hangups <-chan os.Signal) {
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
		case <-hangups:
			r.hangup(ctx)
			return
		case event := <-events:
			// Links are made, renamed and removed. What is only written to counts
			// if it is one of the files.
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

// watchFiles has the system tell of changes where the files are now. They are
// looked at in any case, if less promptly.
func (r *reloader) watchFiles() (events chan fsnotify.Event, errs chan error, files map[string]bool) {
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

// hangup renews all that can be renewed without a restart.
func (r *reloader) hangup(ctx context.Context) {
	log := r.app.log
	notify(log, daemon.SdNotifyReloading)
	defer notify(log, daemon.SdNotifyReady)
	if err := r.app.reopenAudit(); err != nil {
		log.Error().AnErr("error", err).Msg("SIGHUP: the audit log could not be opened anew")
	}
	if r.reload(ctx) {
		r.app.log.Info().Msg("SIGHUP: renewed")
	}
}

// reload puts the configuration into force that the files hold now. If it cannot
// be used the former stays.
func (r *reloader) reload(ctx context.Context) bool {
	r.files = make(seenFiles)
	changed, err := r.replace(ctx)
	r.app.metrics.observeReload(len(changed) > 0, err)
	if err != nil {
		r.app.log.Error().AnErr("error", err).Msg("the configuration cannot be used; the former stays in force")
		return false
	}
	if len(changed) > 0 {
		r.app.log.Info().Strs("changed", changed).Msg("configuration reloaded")
	}
	return true
}

// replace returns the keys and the files that made the difference.
func (r *reloader) replace(ctx context.Context) (changed []string, err error) {
	config, err := readConfig(r.command.configPath, r.command.env, r.files.read)
	if err != nil {
		return nil, err
	}
	former := r.app
	if err := former.config.checkFixed(config); err != nil {
		return nil, err
	}
	ca, err := certs.Load(config.caConfig(former.now))
	if err != nil {
		return nil, err
	}
	if ca.Certificate().Equal(former.ca.Certificate()) {
		ca = former.ca // with the certificates that it has issued
	} else {
		changed = append(changed, ca.Path())
	}
	changed = append(changed, changedKeys(former.config, config)...)
	changed = append(changed, config.changedFiles(r.applied, r.files)...)
	if err := config.entrance.keepTokens(former.config.entrance); err != nil {
		return nil, config.source.errorAt("clients.tokens_file", err)
	}
	if len(changed) == 0 {
		return nil, nil
	}
	log := former.log
	if config.Log != former.config.Log {
		log = newLogger(config.Log, r.command.stderr)
	}
	next, err := former.next(config, log)
	if err != nil {
		return nil, err
	}
	next.ca = ca
	r.enforce(ctx, next)
	return changed, nil
}

// enforce puts next in the place of the app in force, which is closed when
// nobody uses it any more.
func (r *reloader) enforce(ctx context.Context, next *app) {
	next.start(ctx, "")
	next.logInForce.Store(&next.log)
	former := r.app
	r.mu.Lock()
	r.app = next
	r.mu.Unlock()
	r.applied = r.files
	released := r.proxy.Reconfigure(next.proxyConfig(next.ca, next.config.entrance))
	r.group.Go(func() {
		<-released
		former.close()
	})
}
