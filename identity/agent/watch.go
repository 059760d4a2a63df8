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
	// watchSettle is how long auth.json must be unchanged before it is read.
	watchSettle = 100 * time.Millisecond
	// watchInterval is how often a watch is tried again that cannot be set up, for the
	// directory does not exist or the system has no means.
	watchInterval = 5 * time.Second
)

// Run prepares the identity and the task of a session label, and does so again whenever
// the log-in changes, until ctx ends. It calls Notify once for each failure: the next
// request tries again.
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

// Prepare makes the identity and the task of a session label ready for the next request,
// and brings auth.json up to date if it holds a token that is spent. It registers what is
// missing, if that is allowed.
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

// watch returns a channel that receives a value when auth.json changes, until ctx ends.
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

// watchHome watches the Codex home, and the directory of the file that auth.json links to,
// for as long as that is possible. It sends on changes when it begins, for there may have
// been a change that nobody saw.
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
