// Package chatgpttest provides a stand-in for the ChatGPT backend, for tests of
// programs that talk to it.
//
// It is to a ChatGPT client what net/http/httptest is to an HTTP client: a real
// TLS server on the loopback interface that knows accounts, access tokens, agent
// identities and their tasks, verifies the credential of every request, answers
// what the Codex CLI asks for, registers agents and refreshes tokens. It records
// what arrived, and can be told to misbehave.
//
// The server shares no code with any client, so that a client's mistake cannot
// hide behind the same mistake here.
package chatgpttest

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// Config is what a [Server] may be told before it starts. The zero value is
// ready for use.
type Config struct {
	// Addr is the address to listen on, by default a free port of 127.0.0.1.
	Addr string

	// Now is the server's clock: of its Date header, and what timestamps and
	// expiries are compared with. By default time.Now.
	Now func() time.Time

	// Hosts are the names and addresses in the server's certificate. By default
	// the ChatGPT hosts, auth.openai.com, that of staging, localhost and 127.0.0.1.
	// A request is answered as the service of its Host header answers it; a host
	// that is none of ChatGPT's answers all requests.
	Hosts []string

	// HTTP1Only withholds HTTP/2 from the clients.
	HTTP1Only bool

	// Logf, if set, is told of every answered request and of TLS errors.
	Logf func(format string, args ...any)

	// TokenLifetime is how long access tokens are valid, by default ten days.
	// A negative lifetime makes tokens that have expired already.
	TokenLifetime time.Duration

	// Reply is the text of the assistant's answers.
	Reply string

	// DeltaInterval is the pause between two deltas of an answer.
	DeltaInterval time.Duration

	// Origin is what accounts/check names as the home of every workspace, by
	// default https://chatgpt.com. Codex sends all further requests there.
	Origin string

	// AssertionWithAccountID accepts a ChatGPT-Account-ID beside an AgentAssertion
	// of a [FirstGeneration] agent if it names the agent's account. Otherwise such
	// a request is refused.
	AssertionWithAccountID bool

	// DropBodies has the recorder neither keep nor hash the bodies of requests, which takes
	// most of the time of large ones. Their [Request] has no length either.
	DropBodies bool

	// SigningKey signs the JWTs. By default a new key is made when the first JWT
	// is; tests with many servers save time by sharing one.
	SigningKey *rsa.PrivateKey
}

// DefaultReply is the assistant's answer when [Config] has none.
const DefaultReply = "Hello from the stand-in backend."

func (c Config) withDefaults() Config {
	if c.Addr == "" {
		c.Addr = "127.0.0.1:0"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if len(c.Hosts) == 0 {
		c.Hosts = defaultHosts()
	}
	if c.Logf == nil {
		c.Logf = func(string, ...any) {}
	}
	if c.TokenLifetime == 0 {
		c.TokenLifetime = 10 * 24 * time.Hour
	}
	if c.Reply == "" {
		c.Reply = DefaultReply
	}
	if c.Origin == "" {
		c.Origin = "https://chatgpt.com"
	}
	return c
}

// A Server is a stand-in for the ChatGPT backend, listening on the loopback
// interface. All its methods may be called concurrently.
type Server struct {
	// Config may be changed between [NewUnstartedServer] and [Server.Start].
	Config Config

	ca       *authority
	listener net.Listener
	http     *http.Server
	client   *http.Client
	served   chan struct{} // closed when the accept loop has returned

	ctx    context.Context // ends when the server closes
	cancel context.CancelFunc

	router   *router
	recorder recorder

	jobs   sync.WaitGroup // connections and running handlers
	mu     sync.Mutex     // guards what follows
	closed bool
	now    func() time.Time
	state  state
}

// NewServer starts a server. Like its namesake in httptest it panics when it
// cannot. The caller should call [Server.Close] when finished.
func NewServer() *Server {
	s := NewUnstartedServer()
	s.Start()
	return s
}

// NewUnstartedServer returns a server that does not listen yet, so that its
// Config can be changed before [Server.Start].
func NewUnstartedServer() *Server { return new(Server) }

// NewServerWith starts a server with the given configuration.
func NewServerWith(c Config) (*Server, error) {
	s := &Server{Config: c}
	if err := s.start(); err != nil {
		return nil, err
	}
	return s, nil
}

// Start starts a server that [NewUnstartedServer] returned. It panics when the
// server cannot listen or was started before.
func (s *Server) Start() {
	if err := s.start(); err != nil {
		panic("chatgpttest: " + err.Error())
	}
}

func (s *Server) start() error {
	if s.http != nil {
		return fmt.Errorf("server started twice")
	}
	s.Config = s.Config.withDefaults()
	s.now = s.Config.Now
	s.state = newState(s.Config)
	s.router = newRouter(routes())

	ca, err := newAuthority()
	if err != nil {
		return fmt.Errorf("making a certificate authority: %w", err)
	}
	tlsConfig, err := ca.serverConfig(s.Config.Hosts)
	if err != nil {
		return fmt.Errorf("issuing a certificate: %w", err)
	}
	ln, err := net.Listen("tcp", s.Config.Addr)
	if err != nil {
		return err
	}
	s.ca, s.listener = ca, ln
	s.ctx, s.cancel = context.WithCancel(context.Background())

	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(!s.Config.HTTP1Only)
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		TLSConfig:         tlsConfig,
		Protocols:         protocols,
		ReadHeaderTimeout: time.Minute,
		BaseContext:       func(net.Listener) context.Context { return s.ctx },
		ConnState:         s.connState,
		ErrorLog:          log.New(logWriter(s.Config.Logf), "", 0),
	}
	s.client = s.newClient()
	s.served = make(chan struct{})
	go func() {
		defer close(s.served)
		if err := s.http.ServeTLS(ln, "", ""); err != http.ErrServerClosed {
			s.Config.Logf("chatgpttest: %v", err)
		}
	}()
	return nil
}

// Close ends every connection, running streams and WebSockets included, and
// returns when all goroutines of the server have ended.
func (s *Server) Close() {
	s.mu.Lock()
	if s.closed || s.http == nil {
		s.mu.Unlock()
		return
	}
	s.closed = true
	s.mu.Unlock()

	s.cancel()
	s.client.CloseIdleConnections()
	s.http.Close()
	<-s.served // no connection is added after this
	s.jobs.Wait()
}

// connState keeps count of the connections, which http.Server.Close closes but
// does not wait for.
func (s *Server) connState(_ net.Conn, st http.ConnState) {
	switch st {
	case http.StateNew:
		s.jobs.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.jobs.Done()
	}
}

// enter counts a handler in, unless the server is closing.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.jobs.Add(1)
	return true
}

// Addr returns the host and port that the server listens on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// URL returns the server's base URL, of the form https://127.0.0.1:port without
// a trailing slash.
func (s *Server) URL() string { return "https://" + s.Addr() }

// CertPEM returns the certificate of the server's certificate authority.
func (s *Server) CertPEM() []byte { return s.ca.certPEM() }

// Client returns a client that trusts the server and connects to it whatever
// host a URL names.
func (s *Server) Client() *http.Client { return s.client }

func (s *Server) newClient() *http.Client {
	pool := x509.NewCertPool()
	pool.AddCert(s.ca.cert)
	addr, dialer := s.Addr(), new(net.Dialer)
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, addr)
		},
		TLSClientConfig:    clientTLS(pool),
		ForceAttemptHTTP2:  !s.Config.HTTP1Only,
		DisableCompression: true, // what the server sent is what a test sees
	}}
}

// SetNow replaces the server's clock.
func (s *Server) SetNow(now func() time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = now
}

// SetClockOffset puts the server's clock ahead of [Config].Now by d, or behind
// it if d is negative.
func (s *Server) SetClockOffset(d time.Duration) {
	s.SetNow(func() time.Time { return s.Config.Now().Add(d) })
}

func (s *Server) time() time.Time {
	s.mu.Lock()
	now := s.now
	s.mu.Unlock()
	return now()
}

// logWriter gives http.Server's log lines to logf.
type logWriter func(format string, args ...any)

var _ io.Writer = logWriter(nil)

func (logf logWriter) Write(p []byte) (int, error) {
	logf("chatgpttest: %s", p)
	return len(p), nil
}
