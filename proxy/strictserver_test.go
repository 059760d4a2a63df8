package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
	"github.com/agentproxy/agentproxy/proxy/internal/track"
	"github.com/agentproxy/agentproxy/signer"
)

// numberedSigner gives every request a credential of its own, so that a server
// can tell what was signed from what a client has forged.
type numberedSigner struct {
	mu     sync.Mutex
	issued int
}

const numberedToken = "Bearer the-proxy's-token-"

func (s *numberedSigner) Sign(context.Context, signer.Request) (*signer.Authorization, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.issued++
	return &signer.Authorization{
		Value: identity.Secret(numberedToken + strconv.Itoa(s.issued)), Scheme: signer.SchemeBearer, AccountID: proxytest.Account,
	}, nil
}

// strictServer is a server behind the proxy that takes nothing but requests as
// the proxy ought to send them, and remembers both them and what was wrong.
type strictServer struct {
	address string

	mu       sync.Mutex
	requests []*strictRequest
	wrong    []error
	seen     map[string]bool // the credentials that came
	conns    *track.InFlight // connections of the proxy, those being made among them
}

func newStrictServer(t testing.TB) *strictServer {
	s := &strictServer{seen: make(map[string]bool), conns: track.NewInFlight()}
	config := proxytest.ServerTLS()
	s.address = proxytest.NewRawServer(t, func(raw net.Conn) {
		defer s.conns.Add(-1)
		c := tls.Server(raw, config)
		defer c.Close()
		r := bufio.NewReader(c)
		for {
			if _, err := r.Peek(1); err != nil {
				return
			}
			q, err := readStrict(r, func() { _, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n") })
			if err == nil {
				err = s.check(q)
			}
			if err != nil {
				s.note(err)
				return
			}
			if _, err := io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n"); err != nil {
				return
			}
		}
	})
	return s
}

// note remembers an error, unless it is that the proxy has cut the request.
func (s *strictServer) note(err error) {
	if errors.Is(err, errMalformed) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.wrong = append(s.wrong, err)
	}
}

// check says what is wrong with a request that was well-formed.
func (s *strictServer) check(q *strictRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, q)
	if h := q.values("host"); !strings.EqualFold(strings.TrimSuffix(h[0], ":443"), proxytest.Host) {
		return malformed("the request is for %q", h[0])
	}
	auth := q.values("authorization")
	if len(auth) != 1 || !strings.HasPrefix(auth[0], numberedToken) || s.seen[auth[0]] {
		return malformed("Authorization %q", auth)
	}
	s.seen[auth[0]] = true
	if ids := q.values("chatgpt-account-id"); !slices.Equal(ids, []string{proxytest.Account}) {
		return malformed("ChatGPT-Account-ID %q", ids)
	}
	for _, name := range []string{"x-openai-fedramp", "proxy-authorization", "proxy-connection", "keep-alive"} {
		if values := q.values(name); values != nil {
			return malformed("%s %q", name, values)
		}
	}
	for _, f := range q.trailers {
		switch f[0] {
		case "authorization", "chatgpt-account-id", "x-openai-fedramp", "proxy-authorization", "host", "content-length", "transfer-encoding":
			return malformed("trailer %s", f[0])
		}
	}
	return nil
}

// take returns what came since it was called last.
func (s *strictServer) take() ([]*strictRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	requests, wrong := s.requests, s.wrong
	s.requests, s.wrong, s.seen = nil, nil, make(map[string]bool)
	return requests, errors.Join(wrong...)
}

// strictProxy is a proxy in front of a strict server.
type strictProxy struct {
	*testProxy
	server *strictServer
	signer *numberedSigner
}

func newStrictProxy(t testing.TB) *strictProxy {
	s := newStrictServer(t)
	signer := new(numberedSigner)
	p := &strictProxy{newProxy(t, s.address, func(c *Config) {
		c.Signer = signer
		c.Upstream.Dial = func(ctx context.Context, by *net.Dialer, address string) (net.Conn, error) {
			s.conns.Add(1)
			// A dial that is given up may yet have made a connection.
			c, err := by.DialContext(context.WithoutCancel(ctx), "tcp", address)
			if err != nil {
				s.conns.Add(-1)
			}
			return c, err // for the server to take off when it has ended
		}
	}), s, signer}
	p.serve(t)
	return p
}

// settled returns what the server got, once nothing is under way any more.
func (p *strictProxy) settled() ([]*strictRequest, error) {
	ctx, cancel := context.WithTimeout(context.Background(), proxytest.Patience)
	defer cancel()
	// Clients have hung up, but the proxy may not have read all that they sent.
	for p.places.all.InUse() > 0 && ctx.Err() == nil {
		time.Sleep(100 * time.Microsecond)
	}
	if err := p.life.running.Wait(ctx); err != nil {
		return nil, fmt.Errorf("an exchange does not end: %w", err)
	}
	for {
		// A connection becomes idle a moment after its last answer.
		p.current().upstream.CloseIdleConnections()
		moment, cancel := context.WithTimeout(ctx, time.Millisecond)
		err := p.server.conns.Wait(moment)
		cancel()
		if err == nil {
			return p.server.take()
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("a connection to the server does not end: %w", err)
		}
	}
}
