package signer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/internal/contain"
	"github.com/agentproxy/agentproxy/internal/safefile"
)

// Command signs with what a program prints: a token on one line, or an object
//
//	{"authorization": "Bearer …", "expires_at": "2026-04-15T00:00:00Z"}
//
// The program runs once for all requests that wait for it, and again shortly before the
// credential expires.
type Command struct {
	argv     []string
	dir      string // "" for the one in which agentproxy was started
	now      func() time.Time
	timeout  time.Duration
	accounts Accounts // nil: a token is for the account that it names
	panicked func(*contain.PanicError)

	flight  singleflight.Group
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup
	mu      sync.Mutex
	closed  bool
	auth    *Authorization
	renewAt time.Time
	madeAt  time.Time
}

var _ Renewer = (*Command)(nil)

const (
	commandTimeout = 30 * time.Second
	// commandMargin is how long before its expiry a credential is renewed: it must still
	// be good when it reaches the server.
	commandMargin = 30 * time.Second
	// commandLifetime is how long a credential without an expiry is used.
	commandLifetime = 5 * time.Minute
	maxCommandOut   = 64 << 10
)

// NewCommand returns a signer that runs argv, a program and its arguments, without a
// shell. accounts finds the account of a token that does not name it, and may be nil.
func NewCommand(argv []string, now func() time.Time, accounts Accounts) *Command {
	ctx, cancel := context.WithCancel(context.Background())
	return &Command{argv: argv, now: now, accounts: accounts, timeout: commandTimeout, ctx: ctx, cancel: cancel}
}

// In has the program run in a directory, in place of the one in which agentproxy was started. It
// must be called before Sign. It returns c.
func (c *Command) In(dir string) *Command {
	c.dir = dir
	return c
}

// OnPanic has f be called when the handling of what the program prints has panicked, which is an
// error of Sign. It must be called before Sign. It returns c.
func (c *Command) OnPanic(f func(*contain.PanicError)) *Command {
	c.panicked = f
	return c
}

// Close stops the program if it runs, and waits for its end. Sign fails from then on.
func (c *Command) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.running.Wait()
}

// begin counts a run of the program that Close waits for.
func (c *Command) begin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClosed
	}
	c.running.Add(1)
	return nil
}

var errClosed = errors.New("was stopped, because agentproxy ends or has another configuration now")

// Sign implements [Signer].
func (c *Command) Sign(ctx context.Context, _ Request) (*Authorization, error) {
	if auth := c.current(); auth != nil {
		return auth, nil
	}
	// The program works for all requests that wait. It does not stop when the one that
	// started it goes away.
	result := c.flight.DoChan("", func() (any, error) {
		if auth := c.current(); auth != nil {
			return auth, nil
		}
		if err := c.begin(); err != nil {
			return nil, err
		}
		defer c.running.Done()
		return contain.Call(c.panicked, func() (*Authorization, error) { return c.run(c.ctx) })
	})
	select {
	case <-ctx.Done():
		return nil, Errorf(CommandFailed, "signer.command %s: %w", c.argv[0], context.Cause(ctx))
	case r := <-result:
		if r.Err != nil {
			return nil, Errorf(CommandFailed, "signer.command %s: %w; run it by hand to see what it says", c.argv[0], r.Err)
		}
		return r.Val.(*Authorization), nil
	}
}

// Renew implements [Renewer]. It runs the program again, unless it has just done so: the
// server may refuse everything.
func (c *Command) Renew(ctx context.Context, r Request, refused *Authorization) (*Authorization, error) {
	c.mu.Lock()
	if c.auth == refused && c.now().Sub(c.madeAt) >= commandMargin {
		c.auth = nil
	}
	c.mu.Unlock()
	auth, err := c.Sign(ctx, r)
	if err == nil && auth.Value == refused.Value {
		return nil, errNotRenewable
	}
	return auth, err
}

func (c *Command) current() *Authorization {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.auth != nil && c.now().Before(c.renewAt) {
		return c.auth
	}
	return nil
}

func (c *Command) run(ctx context.Context) (*Authorization, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Dir = c.dir
	// A grandchild that keeps the pipe open must not keep the requests waiting.
	cmd.WaitDelay = time.Second
	out := &boundedBuffer{limit: maxCommandOut}
	cmd.Stdout = out // standard error may hold secrets: it goes nowhere
	err := cmd.Run()
	switch {
	case out.exceeded:
		// The program may have died of the closed pipe.
		return nil, fmt.Errorf("printed more than %d bytes", maxCommandOut)
	case err != nil && c.ctx.Err() != nil:
		return nil, errClosed
	case err != nil && ctx.Err() != nil:
		return nil, fmt.Errorf("gave no credential within %s", c.timeout)
	case err != nil:
		return nil, withoutProgram(err)
	}
	auth, expires, err := parseCommandOutput(out.buf.Bytes())
	if err != nil {
		return nil, err
	}
	if err := withAccount(ctx, c.accounts, auth); err != nil {
		return nil, err
	}
	auth.Signer = "command"
	now := c.now()
	if !expires.IsZero() && !now.Before(expires) {
		return nil, fmt.Errorf("printed a credential that expired at %s", expires.Format(time.RFC3339))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.auth, c.madeAt = auth, now
	if expires.IsZero() {
		c.renewAt = now.Add(commandLifetime)
	} else {
		c.renewAt = expires.Add(-commandMargin)
	}
	return auth, nil
}

// withoutProgram returns err without the name of the program, for messages that have it
// anyway.
func withoutProgram(err error) error {
	if e, ok := errors.AsType[*exec.Error](err); ok {
		err = e.Err
	}
	return safefile.Cause(err)
}

// parseCommandOutput returns the answer with the credential in a program's output, and when
// the credential expires, zero if that is not known.
func parseCommandOutput(out []byte) (auth *Authorization, expires time.Time, err error) {
	out = bytes.TrimSpace(out)
	switch {
	case len(out) == 0:
		return nil, time.Time{}, errors.New("printed nothing; it must print a token, or an object with \"authorization\" and \"expires_at\"")
	case out[0] == '{':
		auth, expires, err = parseCommandObject(out)
	default:
		auth, err = authorizationForToken(string(out))
	}
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("printed something that cannot be sent: %w", err)
	}
	if expires.IsZero() {
		expires, _ = identity.TokenExpiry(trimScheme(auth.Value.Reveal()))
	}
	return auth, expires, nil
}

func parseCommandObject(out []byte) (*Authorization, time.Time, error) {
	var answer struct {
		Authorization string    `json:"authorization"`
		ExpiresAt     time.Time `json:"expires_at"`
	}
	// The parser's own error could quote the credential.
	if json.Unmarshal(out, &answer) != nil {
		return nil, time.Time{}, errors.New("it is not the JSON {\"authorization\": \"…\", \"expires_at\": \"RFC 3339 time\"}")
	}
	value := strings.TrimSpace(answer.Authorization)
	if value == "" {
		return nil, time.Time{}, errors.New("it is JSON without \"authorization\"")
	}
	auth, err := authorizationFor(value)
	return auth, answer.ExpiresAt, err
}

// boundedBuffer is a buffer that fails writes beyond its limit.
type boundedBuffer struct {
	buf      bytes.Buffer // not embedded: io.Copy would go by its ReadFrom
	limit    int
	exceeded bool
}

func (b *boundedBuffer) Write(p []byte) (int, error) {
	if b.buf.Len()+len(p) > b.limit {
		b.exceeded = true
		return 0, errors.New("too much")
	}
	return b.buf.Write(p)
}
