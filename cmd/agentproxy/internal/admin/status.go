package admin

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/agentproxy/agentproxy/certs"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/history"
	"github.com/agentproxy/agentproxy/proxy"
	"github.com/agentproxy/agentproxy/signer"
)

const (
	// statusTimeout bounds the time to find out the state.
	statusTimeout = 5 * time.Second
	// maxLive bounds the exchanges that are listed.
	maxLive = 100
)

// Status is the state of the proxy, as the page and /status.json show it. It holds no
// secret, and no query, header or body of a request.
type Status struct {
	At      time.Time `json:"at"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`

	// Ready is whether requests of at least some clients can be signed.
	Ready bool `json:"ready"`
	// Agents are what clients may act as: one, unless there are profiles.
	Agents []agentStatus `json:"agents"`

	CAExpires time.Time `json:"ca_expires"`
	// CAFingerprint tells this proxy from one with another state directory.
	CAFingerprint string `json:"ca_fingerprint"`
	// ClockOffset is how far the backend's clock is ahead of this machine's, in
	// seconds. It is 0 if the difference does not matter.
	ClockOffset float64 `json:"clock_offset_seconds"`
	// ClockExcess is the same if it is too far to be followed, so that signatures are
	// refused.
	ClockExcess float64 `json:"clock_excess_seconds,omitempty"`

	InFlight map[string]int         `json:"in_flight"` // by kind
	Bytes    map[string]proxy.Bytes `json:"bytes"`     // of all exchanges so far, by kind
	// UsageLost counts the lines of the usage file that could not be written.
	UsageLost int             `json:"usage_lines_lost"`
	Live      []proxy.Running `json:"live"` // the latest of those in flight
	// Requests are the latest that have ended, the latest first.
	Requests []history.Request `json:"requests"`
	Rates    history.Rates     `json:"rates"`
	Refusals []Refusal         `json:"refusals"` // the latest first
	// OutOfScope are the last requests out of scope, refused or not, the latest first.
	OutOfScope []miss `json:"out_of_scope"`
}

// agentStatus is the state of an agent.
type agentStatus struct {
	Profile string `json:"profile,omitempty"` // "" is for clients that have none

	// Ready is whether requests can be signed, with a credential of the kind Scheme. If
	// not, Code and Message say why and what to do.
	Ready   bool          `json:"ready"`
	Scheme  signer.Scheme `json:"scheme,omitempty"`
	Code    signer.Code   `json:"code,omitempty"`
	Message string        `json:"message,omitempty"`

	As   string `json:"as"`             // in words
	Task string `json:"task,omitempty"` // that serves the proxy as a whole
	// TaskOverdue says why the task was not replaced although it is due.
	TaskOverdue string `json:"task_overdue,omitempty"`

	TokenExpires *time.Time `json:"token_expires,omitempty"` // of the log-in, if it says
	// LoginEnded says that somebody has to log in again.
	LoginEnded string `json:"login_ended,omitempty"`

	// Quota is what the account's responses have said last of its limits.
	Quota *quota `json:"quota,omitempty"`
}

// look returns the state of the proxy of r. It changes nothing: it neither asks the backend
// nor registers what is missing.
func look(ctx context.Context, r *app.Reloader, m *Metrics) Status {
	a, done := r.Use()
	defer done()
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	s := Status{
		Version: cli.Version(), Started: m.started,
		CAExpires: a.CA.Certificate().NotAfter, CAFingerprint: certs.Fingerprint(a.CA.Certificate()), ClockOffset: a.Clock.Offset().Seconds(), ClockExcess: a.Clock.Excess().Seconds(),
		UsageLost: a.UsageLost(),
		Live:      []proxy.Running{}, Requests: m.latest.Latest(), Refusals: m.refused.Latest(), OutOfScope: m.missed.latest(),
	}
	principals := a.InUse()
	s.Agents = make([]agentStatus, len(principals))
	var looking sync.WaitGroup
	for i, p := range principals {
		looking.Go(func() {
			s.Agents[i] = lookAt(ctx, a, p)
			s.Agents[i].Quota = m.quotas.of(p.Config.Profile, a.Now())
		})
	}
	looking.Wait()
	s.Ready = slices.ContainsFunc(s.Agents, func(agent agentStatus) bool { return agent.Ready })
	carried := r.Proxy().Traffic()
	s.InFlight, s.Bytes = carried.Running, carried.Bytes
	for _, x := range r.Proxy().Running(maxLive) {
		x.Client, x.Method, x.Path = shorten(x.Client), cli.Printable(shorten(x.Method)), cli.Printable(shorten(x.Path))
		s.Live = append(s.Live, x)
	}
	s.At = a.Now()
	s.Rates = m.counted.Rates(time.Now()) // by the clock that they were counted by
	return s
}

func lookAt(ctx context.Context, a *app.App, p *app.Principal) agentStatus {
	s := agentStatus{Profile: p.Config.Profile, As: p.Describe(ctx)}
	var err error
	if s.Scheme, err = a.Known(ctx, p); err != nil {
		s.Code, s.Message = signer.CodeOf(err), err.Error()
	} else {
		s.Ready = true
	}
	agent := p.Account.Agent
	if task, ok := agent.Task(ctx, ""); ok {
		s.Task = task.ID
	}
	if err := agent.TaskOverdue(ctx, ""); err != nil {
		s.TaskOverdue = err.Error()
	}
	if expiry, err := agent.TokenExpiry(ctx); err == nil && !expiry.IsZero() {
		s.TokenExpires = &expiry
	}
	if err := agent.LoginEnded(ctx); err != nil {
		s.LoginEnded = err.Error()
	}
	return s
}
