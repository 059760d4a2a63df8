// Package backend asks ChatGPT's backend and its accounts service for what an agent
// identity needs, in the words of Codex.
//
// A [Client] registers agents and tasks by both generations of the protocol, refreshes
// and revokes tokens, and verifies identities that are JWTs. What a server refuses is an
// [*AnswerError]. A [Clock] learns from the answers how far the servers' clock is from
// this machine's.
package backend

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"time"

	"github.com/agentproxy/agentproxy/identity/agent/retry"
)

// Client asks the backend and the accounts service. It is safe for concurrent use.
type Client struct {
	config    Config
	endpoints Endpoints
	accounts  Endpoints
}

// Config holds the URLs of the services, and what they are told.
type Config struct {
	// BaseURL is the URL of the backend, such as https://chatgpt.com/backend-api.
	BaseURL string
	// Overrides are URLs that replace the usual ones.
	Overrides Overrides
	// Transport sends the requests. It must verify servers.
	Transport http.RoundTripper
	// Clock gives the time stamps, and learns from the answers. nil: a clock of the
	// client's own.
	Clock *Clock
	// ABOM describes the agents that are registered.
	ABOM ABOM
	// Observe, if set, is called with the result of every request.
	Observe func(Operation, Result)
	// Wait waits between two tries of a request. nil: for that long.
	Wait func(context.Context, time.Duration) error
}

// oauthClientID is the id of Codex, which the refresh tokens were issued to.
const oauthClientID = "app_EMoamEEZ73f0CkXaXp7hrann"

const (
	// backendTimeout bounds each try of a request without a bound of its own, as in
	// Codex.
	backendTimeout = 15 * time.Second
	// maxAnswer bounds the body of an answer, in bytes.
	maxAnswer = 1 << 20
	// firstRetryWait is the wait before the second try. The wait before the third is
	// twice as long.
	firstRetryWait = 200 * time.Millisecond
	// longestRetryWait bounds the wait that a server may ask for. If it asks for more,
	// the caller decides.
	longestRetryWait = 2 * time.Second
)

// New returns the client of config.
func New(config Config) *Client {
	config.BaseURL = NormalizeBaseURL(config.BaseURL)
	config.Overrides = config.Overrides.withDefaults(config.BaseURL)
	if config.Clock == nil {
		config.Clock = NewClock(nil, nil)
	}
	if config.Wait == nil {
		config.Wait = retry.Sleep
	}
	return &Client{
		config:    config,
		endpoints: EndpointsFor(config.BaseURL),
		accounts:  endpointsBelow(config.Overrides.AgentsURL),
	}
}

// Clock returns the clock that learns from the answers.
func (b *Client) Clock() *Clock { return b.config.Clock }

// Endpoints returns the URLs of [identity.ProtocolBackend]. A biscuit is for one of them.
func (b *Client) Endpoints() Endpoints { return b.endpoints }

// originator is the program that asks. The services know Codex alone.
const originator = "codex_cli_rs"

// userAgent returns the User-Agent field of Codex, with agentproxy in the place of the
// terminal.
func (b *Client) userAgent() string {
	return fmt.Sprintf("%s/%s (%s; %s) agentproxy/%s",
		originator, CodexVersion, runtime.GOOS, runtime.GOARCH, cmp.Or(b.config.ABOM.AgentVersion, "unknown"))
}

// call is a request to one of the services.
type call struct {
	doing       string // what it is for, such as "register the agent"
	method, url string
	header      http.Header
	body        any           // is sent as JSON; nil: no body
	form        url.Values    // is sent in place of body; nil: none
	timeout     time.Duration // of each try; 0: backendTimeout
	tries       int           // in all; 0: one
}

// do makes a call and returns the header and body of the answer. A status other than 2xx
// is an [*AnswerError], and a 2xx that cannot be read an [*unusableError]. A call with
// several tries is repeated after 429, 5xx and transport errors.
func (b *Client) do(ctx context.Context, c call) (http.Header, []byte, error) {
	var body []byte
	if c.form != nil {
		body = []byte(c.form.Encode())
	} else if c.body != nil {
		var err error
		if body, err = json.Marshal(c.body); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", c.doing, err)
		}
	}
	for try := 1; ; try++ {
		header, raw, err := b.try(ctx, c, body)
		if err == nil || try >= c.tries || ctx.Err() != nil || !isTransient(err) {
			return header, raw, err
		}
		wait := firstRetryWait << (try - 1)
		asked := RetryAfter(err)
		if asked > longestRetryWait || b.config.Wait(ctx, max(wait/2+rand.N(wait), asked)) != nil {
			return nil, nil, err
		}
	}
}

// isBase reports whether a URL is of the server that the base URL names. No other says
// what the time is.
func (b *Client) isBase(u *url.URL) bool {
	base, err := url.Parse(b.config.BaseURL)
	return err == nil && base.Scheme == u.Scheme && strings.EqualFold(base.Host, u.Host)
}

// askTime asks the server of the base URL for the time. The offset in force may be an old one,
// from an answer that came late, for which another server refuses signatures. Nobody else
// would ask that server while they all wait for a registration.
func (b *Client) askTime(ctx context.Context) {
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, b.config.BaseURL, nil)
	if err != nil {
		return
	}
	request.Header.Set("User-Agent", b.userAgent())
	response, err := b.config.Transport.RoundTrip(request)
	if err != nil {
		return // the next refusal asks again
	}
	response.Body.Close()
	b.config.Clock.Observe(response.Header.Get("Date"))
}

// try makes a call once.
func (b *Client) try(ctx context.Context, c call, body []byte) (http.Header, []byte, error) {
	timeout := cmp.Or(c.timeout, backendTimeout)
	errNoAnswer := fmt.Errorf("no answer within %s", timeout)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errNoAnswer)
	defer cancel()
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	request, err := http.NewRequestWithContext(ctx, c.method, c.url, reader)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", c.doing, err)
	}
	if c.header != nil {
		request.Header = c.header.Clone()
	}
	if c.form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	} else if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("Accept", "*/*") // as Codex does, for all that it asks
	request.Header.Set("Originator", originator)
	request.Header.Set("User-Agent", b.userAgent())
	response, err := b.config.Transport.RoundTrip(request) // no redirect is followed with a credential
	if err != nil {
		if cause := context.Cause(ctx); cause == errNoAnswer {
			err = cause
		}
		return nil, nil, fmt.Errorf("%s at %s: %w", c.doing, request.URL.Host, &unansweredError{err})
	}
	defer response.Body.Close()
	if b.isBase(request.URL) {
		b.config.Clock.Observe(response.Header.Get("Date"))
	} else if response.StatusCode == http.StatusUnauthorized && b.config.Clock.Offset() != 0 {
		b.askTime(ctx)
	}
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case response.StatusCode/100 != 2:
		asked := b.retryAfter(response)
		return nil, nil, &AnswerError{Doing: c.doing, Status: response.StatusCode, Code: errorCode(raw), RetryAfter: asked}
	case err != nil:
		return nil, nil, newUnusableError(c.doing, fmt.Errorf("read the answer: %w", err), raw)
	case len(raw) > maxAnswer:
		return nil, nil, newUnusableError(c.doing, fmt.Errorf("the answer is larger than %d MiB", maxAnswer>>20), raw)
	}
	return response.Header, raw, nil
}
