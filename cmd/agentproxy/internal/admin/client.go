package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/proxy/access"
)

const (
	// maxAnswer bounds the response that is read, in bytes.
	maxAnswer = 4 << 20
	// clientTimeout bounds the wait for a response. The proxy may have to register a task
	// first.
	clientTimeout = 15 * time.Second
)

// Client asks a running proxy, by its admin listener.
type Client struct {
	listen           string // as it is configured
	network, address string
	token            string
	servers          access.Users // who may be sent the token
}

// NewClient returns a client of the proxy that runs with a configuration.
func NewClient(c *config.Config) (*Client, error) {
	if c.Admin.Listen == "" {
		return nil, cli.Usagef("admin is off, so the proxy cannot be asked; set admin to an address or unix:/path")
	}
	admin, err := app.OpenAdmin(c, cli.ReadFile)
	if err != nil {
		return nil, err
	}
	network, address, err := config.ParseAddress(c.Admin.Listen)
	if err != nil {
		return nil, err
	}
	return &Client{c.Admin.Listen, network, config.Dialable(network, address), admin.Token, mayHaveToken(c.StateDir)}, nil
}

// Ready returns the scheme that the proxy signs with now. The error is the proxy's reason
// why it cannot, or why the proxy did not answer.
func (c *Client) Ready(ctx context.Context) (scheme string, err error) {
	var answer struct{ Message, Signs string }
	statusCode, err := c.ask(ctx, "/readyz", &answer)
	if err == nil && statusCode != http.StatusOK {
		err = errors.New("not ready: " + answer.Message)
	}
	return answer.Signs, err
}

var (
	// ErrNoAnswer is wrapped by errors of a [Client] if nobody answers at the address.
	ErrNoAnswer = errors.New("does not answer")
	// ErrNotAgentproxy is wrapped if something else answers.
	ErrNotAgentproxy = errors.New("is not agentproxy")
)

// RefusedError is the answer of an admin listener that does not serve this client.
type RefusedError struct {
	StatusCode int
	Message    string // the listener's own
}

// Error implements error.
func (e *RefusedError) Error() string { return "the admin listener refuses to say: " + e.Message }

// Status returns the state of the proxy. The error is a [*RefusedError] if the proxy does not
// tell it.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var answer struct {
		Status
		Message string
	}
	statusCode, err := c.ask(ctx, "/status.json", &answer)
	if err == nil && statusCode != http.StatusOK {
		err = &RefusedError{statusCode, answer.Message}
	}
	return answer.Status, err
}

// ask requests a path of the admin listener, and decodes the response from JSON.
func (c *Client) ask(ctx context.Context, path string, answer any) (statusCode int, err error) {
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return 0, err
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return c.dial(ctx)
	}}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if foreign, ok := errors.AsType[*foreignServerError](err); ok {
		return 0, fmt.Errorf("the admin listener at %s is not asked: %w", c.listen, foreign.err)
	}
	if err != nil {
		return 0, fmt.Errorf("the admin listener at %s %w: %w; is agentproxy serve running with this configuration?", c.listen, ErrNoAnswer, cli.SyscallError(err))
	}
	defer response.Body.Close()
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(answer); err != nil {
		return 0, fmt.Errorf("what answers at %s %w: status %s; look at admin", c.listen, ErrNotAgentproxy, response.Status)
	}
	return response.StatusCode, nil
}

// foreignServerError is returned where the token is not sent, because of who listens.
type foreignServerError struct{ err error }

// Error implements error.
func (e *foreignServerError) Error() string { return e.err.Error() }

// dial connects to the admin listener, and makes sure that it may have the token.
func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, c.network, c.address)
	if err != nil || c.token == "" {
		return conn, err
	}
	if err := CheckServer(ctx, conn, c.servers); err != nil {
		conn.Close()
		return nil, &foreignServerError{err}
	}
	return conn, nil
}
