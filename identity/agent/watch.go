package agent

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/agent/retry"
)

const (
	// watchSettle is how long auth.json must be quiet before it is looked at.
	watchSettle = 100 * time.Millisecond
	// watchInterval is how often it is looked at where it cannot be watched,
	// because its directory is not there or the system has no means.
	watchInterval = 5 * time.Second
)

// Run prepares the identity and the task of a session label, and again whenever
// the log-in changes, until ctx ends. Failures are told to Notify, each once: the
// next request tries again.
func (a *Agent) Run(ctx context.Context, label string) {
	changes := a.watch(ctx)
	last := ""
	for {
		err := a.Prepare(ctx, label)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			last = ""
		} else if message := err.Error(); message != last {
			last = message
			a.config.Notify(Event{Message: "requests cannot be signed as an agent yet", Err: err})
		}
		select {
		case <-ctx.Done():
			return
		case <-changes:
		}
	}
}

// Prepare gets the identity and the task of a session label ready, and auth.json
// up to date should it hold a token that is spent. It registers only where that
// is allowed.
func (a *Agent) Prepare(ctx context.Context, label string) error {
	a.Repair(ctx)
	_, err := a.Session(ctx, label)
	if errors.Is(err, identity.ErrNoIdentity) && !a.mayRegister() || errors.Is(err, identity.ErrTokenLogin) {
		return nil // as configured
	}
	return err
}

// Repair brings auth.json up to date if it holds a token that is spent. It registers
// nothing.
func (a *Agent) Repair(ctx context.Context) { a.tokens.repair(ctx) }

// watch returns a channel that tells of changes of auth.json, until ctx ends.
func (a *Agent) watch(ctx context.Context) <-chan struct{} {
	changes := make(chan struct{}, 1)
	a.background.Go(func() {
		_ = retry.Sleep(ctx, a.config.WatchAfter)
		for ctx.Err() == nil {
			a.watchHome(ctx, changes)
		}
	})
	return changes
}

// watchHome watches the Codex home, and where auth.json lies if it is a link, for
// as long as that is possible. It tells of a change at once, for there may have
// been one that nobody saw.
func (a *Agent) watchHome(ctx context.Context, changes chan<- struct{}) {
	tell := func() {
		select {
		case changes <- struct{}{}:
		default: // one is waiting already
		}
	}
	events, errs := (chan fsnotify.Event)(nil), (chan error)(nil)
	poll := time.NewTicker(watchInterval)
	defer poll.Stop()
	watcher, err := fsnotify.NewWatcher()
	home := a.config.Home
	dirs := []string{filepath.Clean(home.Dir()), filepath.Dir(home.Target())}
	if err == nil {
		defer watcher.Close()
		if watcher.Add(dirs[0]) == nil && watcher.Add(dirs[1]) == nil {
			events, errs = watcher.Events, watcher.Errors
			poll.Stop()
		}
	}
	settle := time.NewTimer(0)
	defer settle.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case event, ok := <-events:
			if !ok {
				return
			}
			if slices.Contains(dirs, event.Name) && (event.Has(fsnotify.Remove) || event.Has(fsnotify.Rename)) {
				return
			}
			if filepath.Base(event.Name) == "auth.json" || event.Name == home.Target() {
				if dirs[1] != filepath.Dir(home.Target()) {
					return // it has become a link, or links elsewhere
				}
				settle.Reset(watchSettle)
			}
		case <-errs:
			return
		case <-settle.C:
			tell()
		case <-poll.C:
			return // the directory may be there by now
		}
	}
}
