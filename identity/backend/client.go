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

// Backend asks ChatGPT's backend and its accounts service for what an identity
// needs. It is safe for concurrent use.
type Client struct {
	config    Config
	endpoints Endpoints
	accounts  Endpoints
}

// BackendConfig says where the backend is and what is said to it.
type Config struct {
	// BaseURL is the backend's, such as https://chatgpt.com/backend-api.
	BaseURL string
	// Overrides are URLs in place of the usual ones.
	Overrides Overrides
	// Transport sends the requests. It must verify servers.
	Transport http.RoundTripper
	// Clock gives the time stamps, and learns from the answers. nil: one of its
	// own.
	Clock *Clock
	// ABOM describes the agents that are registered.
	ABOM ABOM
	// Observe, if set, is told what came of every request to the backend.
	Observe func(Operation, Result)
	// Wait waits between two tries of a request. nil: by the real time.
	Wait func(context.Context, time.Duration) error
}

// oauthClientID is Codex's, whose refresh tokens these are.
const oauthClientID = "app_EMoamEEZ73f0CkXaXp7hrann"

const (
	// backendTimeout bounds each try of a request that says nothing else, as in
	// Codex.
	backendTimeout = 15 * time.Second
	// maxAnswer bounds what is read of an answer, in bytes.
	maxAnswer = 1 << 20
	// firstRetryWait is how long the second try waits. The third waits twice as
	// long.
	firstRetryWait = 200 * time.Millisecond
	// longestRetryWait is how long a server may ask a further try to wait. Beyond
	// that whoever asked decides.
	longestRetryWait = 2 * time.Second
)

// NewBackend returns the backend of config.
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

// Clock returns the clock that learns from the backend's answers.
func (b *Client) Clock() *Clock { return b.config.Clock }

// Endpoints returns the URLs of [identity.ProtocolBackend], which a biscuit is asked for.
func (b *Client) Endpoints() Endpoints { return b.endpoints }

// originator names the program that asks, as Codex does. Its services know no
// others.
const originator = "codex_cli_rs"

// userAgent names Codex, the version whose protocol this is, and agentproxy in the
// place where Codex names the terminal.
func (b *Client) userAgent() string {
	return fmt.Sprintf("%s/%s (%s; %s) agentproxy/%s",
		originator, CodexVersion, runtime.GOOS, runtime.GOARCH, cmp.Or(b.config.ABOM.AgentVersion, "unknown"))
}

// call is a request to the backend.
type call struct {
	doing       string // what it is for, such as "register the agent"
	method, url string
	header      http.Header
	body        any           // is sent as JSON; nil: no body
	timeout     time.Duration // of each try; 0: backendTimeout
	tries       int           // in all; 0: one
}

// do makes a call and returns the answer's header and body. A status other than
// 2xx is an [*AnswerError], and a 2xx that cannot be read an [*unusableError]. A call with several tries is repeated after 429, 5xx
// and transport errors.
func (b *Client) do(ctx context.Context, c call) (http.Header, []byte, error) {
	var body []byte
	if c.body != nil {
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
	if body != nil {
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
