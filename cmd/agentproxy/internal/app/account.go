package app

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
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/identity/agent"
	"github.com/agentproxy/agentproxy/identity/backend"
	"github.com/agentproxy/agentproxy/identity/codex"
	"github.com/agentproxy/agentproxy/identity/store"
	"github.com/agentproxy/agentproxy/internal/contain"
	"github.com/agentproxy/agentproxy/proxy/upstream"
)

// Account is a log-in and the agent identity that goes with it. Apps that follow one
// another share it while its settings are the same.
type Account struct {
	Home      *codex.Home
	Store     store.Store
	Backend   *backend.Client
	Transport *http.Transport // of the program's own requests
	Agent     *agent.Agent

	panicked func(*contain.PanicError) // is told of running's
	settings accountSettings
	users    users
	prepare  sync.Once
	repair   sync.Once
	running  sync.WaitGroup
	stops    []context.CancelFunc // end what running waits for
}

// accountSettings are what an account is made of.
type accountSettings struct {
	identity config.Identity
	login    Login
	baseURL  string
	upstream upstream.Config
}

func (s accountSettings) equal(other accountSettings) bool {
	return s.identity == other.identity && s.login == other.login && s.baseURL == other.baseURL && s.upstream.Equal(other.upstream)
}

const (
	// refreshCourtesy is how long Codex is given to refresh a log-in before agentproxy does.
	// Codex takes no longer from reading auth.json to writing it, unless its machine or its
	// network is slow.
	refreshCourtesy = time.Second
	// refreshPatience is how long Codex is given to write auth.json if it was faster. It is less
	// than a request is given here and a start of run waits for.
	refreshPatience = 10 * time.Second
)

// openAccount opens an account. Its agent's events go to the log.
func (a *App) openAccount(s accountSettings) *Account {
	id := s.identity
	n := &Account{settings: s, panicked: a.logPanic}
	n.users.join()
	n.Home = codex.OpenHome(s.login.Dir).WithKeyring()
	if a.options.LoginInPlace {
		n.Home.InPlace()
	}
	n.Store = store.NewFile(filepath.Join(id.StateDir, "identity.json"))
	switch {
	case id.File != "":
		n.Store = store.NewReadOnly(id.File)
	case id.Store == config.StoreKeyring:
		n.Store = store.NewKeyring(id.StateDir)
	}
	n.Transport = upstream.NewTransport(s.upstream)
	n.Backend = backend.New(backend.Config{
		BaseURL:   s.baseURL,
		Overrides: id.Overrides,
		Transport: n.Transport,
		Clock:     a.Clock,
		ABOM:      backend.NewABOM(cli.Version(), runtime.GOOS),
		Observe:   a.options.Observer.Backend,
	})
	courtesy, patience, refreshFile := refreshCourtesy, refreshPatience, id.RefreshFile
	if s.login.Own {
		n.Home.Own()
		courtesy, patience, refreshFile = 0, 0, filepath.Join(s.login.Dir, "refresh.json")
	}
	n.Agent = agent.New(agent.Config{
		Home:        n.Home,
		AccessToken: id.AccessToken,
		Courtesy:    courtesy,
		Patience:    patience,
		WorkspaceID: id.WorkspaceID,

		AccessTokenName: "environment variable " + config.AccessTokenVariable,

		StateDir:    id.StateDir,
		RefreshFile: refreshFile,
		Store:       n.Store,
		Backend:     n.Backend,
		Protocol:    id.Protocol,
		Register:    id.Register,
		Clock:       a.Clock,
		Notify:      a.logEvent,
		Panicked:    a.logPanic,
		WatchAfter:  a.options.WatchAfter,
		ReadOnly:    a.options.ReadOnly,
		ClientOf:    a.labels.ClientOf,
	})
	return n
}

// logEvent logs an event of an agent.
func (a *App) logEvent(e agent.Event) {
	if errors.Is(e.Err, context.Canceled) {
		return // the program is ending
	}
	log := a.logInForce.Load()
	event := log.Info()
	if e.Err != nil {
		event = log.Warn().AnErr("error", e.Err)
	}
	event.Msg(e.Message)
}

// logPanic logs that work on a goroutine of its own has panicked.
func (a *App) logPanic(e *contain.PanicError) {
	a.logInForce.Load().Error().Msgf("panic: %s\n%s", e, e.Stack())
}

// start prepares the log-in in the background until ctx ends or the account is closed,
// and the identity and the task of a session label if asAgent is set.
func (n *Account) start(ctx context.Context, label string, asAgent bool) {
	run := func(work func(context.Context)) {
		ctx, stop := context.WithCancel(ctx)
		n.stops = append(n.stops, stop)
		n.running.Go(func() { contain.Do(n.panicked, func() { work(ctx) }) })
	}
	if asAgent {
		n.prepare.Do(func() { run(func(ctx context.Context) { n.Agent.Run(ctx, label) }) })
	} else {
		n.repair.Do(func() { run(n.Agent.Repair) })
	}
}

// Close ends what the account is doing, unless another app uses it.
func (n *Account) Close() {
	if !n.users.leave() {
		return
	}
	for _, stop := range n.stops {
		stop()
	}
	n.running.Wait()
	n.Agent.Close()
	n.Transport.CloseIdleConnections()
}

// users counts the apps that share a part.
type users struct{ n atomic.Int64 }

func (u *users) join() { u.n.Add(1) }

// leave reports whether the last app has left.
func (u *users) leave() bool { return u.n.Add(-1) == 0 }
