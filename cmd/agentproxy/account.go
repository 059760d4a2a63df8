package main

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/proxy/upstream"
)

// account is a log-in and the agent identity that goes with it. Apps that follow
// one another share it while its settings are the same.
type account struct {
	settings  accountSettings
	users     users
	home      *identity.Home
	store     identity.Store
	backend   *identity.Backend
	transport *http.Transport // of the program's own requests
	agent     *identity.Agent

	prepare sync.Once
	running sync.WaitGroup
	stop    context.CancelFunc // ends what running waits for
}

// accountSettings is what an account is made of.
type accountSettings struct {
	identity identityConfig
	login    loginPlace
	stateDir string
	refresh  string // the file that the last refresh is kept in
	baseURL  string
	upstream upstream.Config
	override identity.Overrides
	token    identity.Secret // the log-in, "": that in the Codex home
	watch    time.Duration
	inPlace  bool // auth.json is never replaced, for something is mounted over it
}

func (s accountSettings) equal(other accountSettings) bool {
	return s.identity == other.identity && s.login == other.login && s.stateDir == other.stateDir && s.refresh == other.refresh && s.baseURL == other.baseURL && s.override == other.override && s.token == other.token && s.watch == other.watch && s.inPlace == other.inPlace && s.upstream.Equal(other.upstream)
}

func (c *config) account() accountSettings {
	return accountSettings{c.Identity, c.login, c.identityDir(), c.refreshFile(), c.ChatGPT.BaseURL, c.upstream, c.overrides, c.accessToken, c.watchAfter, c.loginInPlace}
}

// refreshCourtesy is how long Codex is given before a log-in is refreshed that is
// its, too. It takes no longer from reading auth.json to writing it.
const refreshCourtesy = time.Second

// newAccount opens an account. What its agent does on its own is told to the log.
func (a *app) newAccount(s accountSettings) *account {
	n := &account{settings: s, stop: func() {}}
	n.users.join()
	n.home = identity.OpenHome(s.login.dir).WithKeyring()
	if s.inPlace {
		n.home.InPlace()
	}
	n.store = identity.NewFileStore(filepath.Join(s.stateDir, "identity.json"))
	switch {
	case s.identity.File != "":
		n.store = identity.NewGivenFile(s.identity.File)
	case s.identity.Store == storeKeyring:
		n.store = identity.NewKeyringStore(s.stateDir)
	}
	n.transport = upstream.NewTransport(s.upstream)
	n.backend = identity.NewBackend(identity.BackendConfig{
		BaseURL:   s.baseURL,
		Overrides: s.override,
		Transport: n.transport,
		Clock:     a.clock,
		ABOM:      identity.NewABOM(cli.Version(), "cli", runtime.GOOS),
		Observe:   a.metrics.observeBackend,
	})
	courtesy := refreshCourtesy
	if s.login.own {
		courtesy = 0
	}
	n.agent = identity.NewAgent(identity.AgentConfig{
		Home:        n.home,
		AccessToken: s.token,
		Courtesy:    courtesy,
		WorkspaceID: s.identity.WorkspaceID,

		AccessTokenName: "environment variable " + accessTokenVariable,

		StateDir:    s.stateDir,
		RefreshFile: s.refresh,
		Store:       n.store,
		Backend:     n.backend,
		Protocol:    identity.Protocol(s.identity.Protocol),
		Register:    s.identity.Register,
		Clock:       a.clock,
		Notify:      a.notify,
		WatchAfter:  s.watch,
	})
	return n
}

// notify logs what an agent did on its own.
func (a *app) notify(e identity.Event) {
	if errors.Is(e.Err, context.Canceled) {
		return // it is this program that ends
	}
	log := a.logInForce.Load()
	event := log.Info()
	if e.Err != nil {
		event = log.Warn().AnErr("error", e.Err)
	}
	event.Msg(e.Message)
}

// start has the identity and the task of a session label prepared in the
// background until ctx ends or the account is closed.
func (n *account) start(ctx context.Context, label string) {
	n.prepare.Do(func() {
		ctx, n.stop = context.WithCancel(ctx)
		n.running.Go(func() { n.agent.Run(ctx, label) })
	})
}

// close ends what the account is doing, unless another app uses it.
func (n *account) close() {
	if !n.users.leave() {
		return
	}
	n.stop()
	n.running.Wait()
	n.agent.Close()
	n.transport.CloseIdleConnections()
}

// users counts the apps that share a part.
type users struct{ n atomic.Int64 }

func (u *users) join() { u.n.Add(1) }

// leave reports whether it was the last.
func (u *users) leave() bool { return u.n.Add(-1) == 0 }
