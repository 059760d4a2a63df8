package proxy

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
	"github.com/agentproxy/agentproxy/signer"
)

// soakFor is how long [TestSoakExchanges] runs. make soak has it run for longer.
var soakFor = flag.Duration("soak", 2*time.Second, "how long TestSoakExchanges runs")

// own is the bytes that belong to an exchange: its id, again and again.
type own struct {
	id string
	at int
}

// Read implements [io.Reader].
func (o *own) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = o.id[o.at%len(o.id)]
		o.at++
	}
	return len(p), nil
}

// Write implements [io.Writer]. It fails for bytes of another exchange.
func (o *own) Write(p []byte) (int, error) {
	want := make([]byte, len(p))
	at := o.at
	_, _ = o.Read(want)
	if !bytes.Equal(p, want) {
		return 0, &foreignBytes{fmt.Sprintf("%s, after %d bytes: %q", o.id, at, p[:min(len(p), 100)])}
	}
	return len(p), nil
}

type foreignBytes struct{ text string }

func (e *foreignBytes) Error() string { return e.text }

// soakAuth returns what the requests of a label are signed with.
func soakAuth(label string) string { return "Bearer of-" + strings.Trim(label, "cd") }

// soakSigner signs for a profile. The second time it gives another credential.
type soakSigner struct{ proxytest.FixedSigner }

func (s soakSigner) Renew(context.Context, signer.Request, *signer.Authorization) (*signer.Authorization, error) {
	return &signer.Authorization{Value: s.Auth.Value + "-again", Scheme: signer.SchemeBearer}, nil
}

// soakAnswers are the ways to answer a request.
var soakAnswers = map[string]func(w http.ResponseWriter, r *http.Request, o *own, read func(n int64)){
	"after the request": func(w http.ResponseWriter, _ *http.Request, o *own, read func(int64)) {
		read(1 << 40)
		_, _ = io.CopyN(w, o, rand.Int64N(100_000))
	},
	"early": func(w http.ResponseWriter, _ *http.Request, o *own, read func(int64)) {
		read(rand.Int64N(50_000))
		w.Header().Set("Content-Length", "5000")
		_, _ = io.CopyN(w, o, 5000)
		_ = http.NewResponseController(w).Flush()
		if rand.IntN(2) == 0 {
			read(1 << 40)
		}
	},
	"in part": func(w http.ResponseWriter, _ *http.Request, o *own, read func(int64)) {
		read(rand.Int64N(50_000))
		if rand.IntN(2) == 0 {
			w.Header().Set("Content-Length", "100000")
		}
		_, _ = io.CopyN(w, o, rand.Int64N(20_000))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	},
	"not at all": func(w http.ResponseWriter, _ *http.Request, _ *own, read func(int64)) {
		read(rand.Int64N(50_000))
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			if tcp, ok := conn.(interface{ NetConn() net.Conn }); ok {
				_ = tcp.NetConn().(*net.TCPConn).SetLinger(0) // a reset
			}
			conn.Close()
		}
		panic(http.ErrAbortHandler)
	},
	"with hints": func(w http.ResponseWriter, r *http.Request, o *own, read func(int64)) {
		for range 5 {
			w.Header().Set("Link", "<"+strings.Repeat(o.id, 50)+">")
			w.Header()["Content-Length"] = nil // or net/http reads the map later
			w.WriteHeader(http.StatusEarlyHints)
			read(rand.Int64N(5_000))
		}
		w.Header().Del("Link")
		w.Header().Del("Content-Length")
		_, _ = io.CopyN(w, o, 5000)
	},
	"refused first": func(w http.ResponseWriter, r *http.Request, o *own, read func(int64)) {
		if !strings.HasSuffix(r.Header.Get("Authorization"), "-again") {
			read(rand.Int64N(5_000))
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.CopyN(w, o, 100)
			return
		}
		read(1 << 40)
		_, _ = io.CopyN(w, o, 5000)
	},
	"in drops": func(w http.ResponseWriter, _ *http.Request, o *own, read func(int64)) {
		for range rand.IntN(10) {
			_, _ = io.CopyN(w, o, rand.Int64N(5000))
			_ = http.NewResponseController(w).Flush()
			read(rand.Int64N(5000))
		}
	},
	"with another protocol": func(w http.ResponseWriter, r *http.Request, o *own, read func(int64)) {
		if r.Header.Get("Upgrade") == "" {
			return
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: soak\r\nX-Id: %s\r\n\r\n", o.id)
		_ = rw.Flush()
		heard := &own{id: o.id}
		for range rand.IntN(20) {
			n := rand.Int64N(5000)
			if _, err := io.CopyN(heard, rw, n); err != nil {
				return
			}
			if _, err := io.CopyN(conn, o, n); err != nil {
				return
			}
		}
	},
}

// soakServer answers as the requests ask for.
func soakServer(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("X-Id")
		label, _, _ := strings.Cut(id, "-")
		if auth := r.Header.Get("Authorization"); strings.TrimSuffix(auth, "-again") != soakAuth(label) {
			t.Errorf("%s came with %s", id, auth)
		}
		_ = http.NewResponseController(w).EnableFullDuplex()
		sent := &own{id: id}
		w.Header().Set("X-Id", id)
		soakAnswers[r.Header.Get("X-Answer")](w, r, &own{id: id}, func(n int64) {
			_, err := io.CopyN(sent, r.Body, n)
			if foreign, ok := errors.AsType[*foreignBytes](err); ok {
				t.Errorf("the server got bytes of another request: %v", foreign)
			}
		})
	}
}

// soakBody is the body of a client's request, which comes in pieces, with pauses, and breaks
// off if it is told to.
type soakBody struct {
	*own
	left, breaks int
	pauses       bool
}

var errBrokenOff = errors.New("broken off")

// Read implements [io.Reader].
func (b *soakBody) Read(p []byte) (int, error) {
	switch {
	case b.left == 0:
		return 0, io.EOF
	case b.breaks > 0 && b.at >= b.breaks:
		return 0, errBrokenOff
	}
	if b.pauses && rand.IntN(4) == 0 {
		time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
	}
	n, _ := b.own.Read(p[:min(len(p), b.left, 1+rand.IntN(8<<10))])
	b.left -= n
	return n, nil
}

// soakClient is a client with a label.
type soakClient struct {
	*http.Client
	label, proto string
	chunked      bool
}

// ask sends a request, and reads what comes.
func (c soakClient) ask(t *testing.T, n int64) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	body := &soakBody{own: &own{id: fmt.Sprintf("%s-%d,", c.label, n)}, pauses: rand.IntN(2) == 0}
	if rand.IntN(3) > 0 {
		body.left = rand.IntN(100_000)
	}
	gone := rand.IntN(8)
	switch gone {
	case 0:
		body.breaks = 1 + rand.IntN(50_000)
	case 1:
		time.AfterFunc(time.Duration(rand.IntN(20_000))*time.Microsecond, cancel)
	}
	server := "first."
	if rand.IntN(2) == 0 {
		server = "second."
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+server+proxytest.Host+"/", body)
	if err != nil {
		t.Error(err)
		return
	}
	r.ContentLength = int64(body.left)
	if c.chunked && body.left > 0 {
		r.ContentLength = -1
		r.Trailer = http.Header{"X-Sum": {body.id}}
	}
	r.Header.Set("X-Id", body.id)
	for answer := range soakAnswers { // any
		r.Header.Set("X-Answer", answer)
		break
	}
	switch r.Header.Get("X-Answer") {
	case "with another protocol":
		if c.proto == proxytest.H1 {
			r.Header.Set("Connection", "Upgrade")
			r.Header.Set("Upgrade", "soak")
		}
	case "after the request", "with hints": // which ask for the body before they answer
		if rand.IntN(4) == 0 {
			r.Header.Set("Expect", "100-continue")
		}
	}
	res, err := c.Do(r)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok && e.Timeout() {
			t.Errorf("%s over %s, answered %s: %v", body.id, c.proto, r.Header.Get("X-Answer"), err)
		}
		return
	}
	defer res.Body.Close()
	if got := res.Header.Get("X-Id"); got == "" {
		_, _ = io.Copy(io.Discard, res.Body) // the proxy's own
		return
	} else if got != body.id {
		t.Errorf("%s over %s got the answer to %s", body.id, c.proto, got)
		return
	}
	heard := &own{id: body.id}
	if both, ok := res.Body.(io.ReadWriter); ok {
		go func() { _, _ = io.CopyN(both, &own{id: body.id}, 50_000) }()
	}
	most := int64(1 << 40)
	if gone == 2 {
		most = rand.Int64N(10_000)
	}
	_, err = io.CopyN(heard, res.Body, most)
	if foreign, ok := errors.AsType[*foreignBytes](err); ok {
		t.Errorf("a client over %s got bytes of another answer: %v", c.proto, foreign)
	}
}

// TestSoakExchanges has clients of several labels, over HTTP/1.1 and HTTP/2, send requests slowly, break
// them off and leave, and servers answer early, in part and not at all, while the
// configuration changes and a label is refused now and then. Each byte must be of the exchange
// in which it arrives, nothing panics, and in the end nothing is left.
func TestSoakExchanges(t *testing.T) {
	t.Parallel()
	log := new(proxytest.Log)
	signerOf := func(label string) signer.Signer {
		return soakSigner{proxytest.FixedSigner{Auth: &signer.Authorization{Value: identity.Secret(soakAuth(label)), Scheme: signer.SchemeBearer}}}
	}
	handler := soakServer(t)
	second := proxytest.NewBackend(t, proxytest.H2, handler)
	p := startProxy(t, proxytest.NewBackend(t, proxytest.H1, handler).Listener.Addr().String(), func(c *Config) {
		c.Log = zerolog.New(log).Level(zerolog.ErrorLevel)
		c.Upstream.ConnectTo["second."+proxytest.Host+":443"] = second.Listener.Addr().String()
		c.Signer = signerOf("")
		for _, label := range []string{"a", "b"} {
			pattern, err := access.ParseLabelPattern(label)
			if err != nil {
				t.Fatal(err)
			}
			c.Profiles = append(c.Profiles, Profile{Name: label, Labels: access.LabelPatterns{pattern}, Signer: signerOf(label), ConnectionsPerLabel: 1000})
		}
	})
	original := p.current().Config
	var clients, changes sync.WaitGroup
	var asked atomic.Int64
	over := make(chan struct{})
	end := time.AfterFunc(*soakFor, func() { close(over) })
	defer end.Stop()
	for i, label := range []string{"a", "b", "c", "d"} {
		for _, c := range []soakClient{{proto: proxytest.H1}, {proto: proxytest.H1, chunked: true}, {proto: proxytest.H2}} {
			c.Client, c.label = p.clientAs(t, c.proto, url.User(label)), label
			// Nothing else closes one of HTTP/2 that comes when nobody waits for it any more.
			idle := time.Second
			if i%2 == 1 { // connections come and go
				idle = 10 * time.Millisecond
			}
			c.Transport.(*http.Transport).IdleConnTimeout = idle
			for range 4 {
				clients.Go(func() {
					defer c.CloseIdleConnections()
					for {
						select {
						case <-over:
							return
						default:
							c.ask(t, asked.Add(1))
						}
					}
				})
			}
		}
	}
	changes.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-over:
				p.Reconfigure(original)
				return
			case <-time.After(50 * time.Millisecond):
			}
			p.reconfigure(func(c *Config) {
				switch n % 3 {
				case 0: // other connections
					c.Upstream.PingAfter = time.Duration(1+n%7) * time.Minute
				case 1:
					c.Profiles = append([]Profile(nil), original.Profiles...)
					c.Profiles[n/3%2].Refuse = n%2 == 0
				}
			})
		}
	})
	clients.Wait()
	changes.Wait()
	t.Logf("%d requests", asked.Load())
	p.noneHeld(t)
	proxytest.Eventually(t, func() error {
		if running := p.Running(1); len(running) > 0 {
			return fmt.Errorf("%s is still running", strconv.Quote(running[0].Client))
		}
		return nil
	})
	if log := log.String(); log != "" {
		t.Error(log)
	}
}
