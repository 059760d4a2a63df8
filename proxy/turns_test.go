package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agentproxy/agentproxy/proxy/audit"
	"github.com/agentproxy/agentproxy/proxy/internal/live"
	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
	"github.com/agentproxy/agentproxy/proxy/internal/track"
	"github.com/agentproxy/agentproxy/signer"
)

// leafFunc is called in the middle of a handshake.
type leafFunc func(host string) (*tls.Certificate, error)

func (f leafFunc) Leaf(host string) (*tls.Certificate, error) { return f(host) }

// TestHandshakesTakeTurns looks at the turns in the middle of a handshake and after it.
func TestHandshakesTakeTurns(t *testing.T) {
	t.Parallel()
	var p *testProxy
	p = newProxy(t, "", func(c *Config) {
		leaves := c.Leaves
		c.Leaves = leafFunc(func(host string) (*tls.Certificate, error) {
			if p.turns.Taken() != 1 {
				t.Error("the handshake has no turn")
			}
			return leaves.Leaf(host)
		})
	})
	p.serve(t)
	conn := p.intercepted(t, "http/1.1")
	defer conn.Close()
	if p.turns.Taken() != 0 {
		t.Error("the turn lasts longer than the handshake")
	}
}

// TestRequestsTakeTurns sends a request on a connection on which there is little to do, and another
// when there is much. That has a turn while it is signed, and none while its server is waited for.
func TestRequestsTakeTurns(t *testing.T) {
	t.Parallel()
	proxytest.EachWay(t, func(t *testing.T, client, server string) {
		var p *testProxy
		var taken atomic.Bool
		noTurn := func() error {
			if n := p.turns.Taken(); n != 0 {
				return fmt.Errorf("%d turns are taken", n)
			}
			return nil
		}
		backend := proxytest.NewBackend(t, server, func(http.ResponseWriter, *http.Request) { proxytest.Eventually(t, noTurn) })
		p = newProxy(t, backend.Listener.Addr().String(), func(c *Config) {
			c.Signer = proxytest.SignerFunc(func(r signer.Request) (*signer.Authorization, error) {
				switch n := p.turns.Taken(); {
				case r.Path != "/much" && n > 0:
					t.Errorf("%s is signed in %d turns", r.Path, n)
				case r.Path == "/much" && n > 0:
					taken.Store(true)
				}
				p.live.set.Locked(func(all iter.Seq[live.Exchange]) {
					for x := range all { // from now on there is much, for an hour
						x.(*exchange).client.(*interceptedConn).Pace.Spend(1<<30, time.Now().Add(time.Hour))
					}
				})
				return proxytest.Bearer(), nil
			})
		})
		p.serve(t)
		c := p.client(t, client)
		mustGet := func(path string) {
			t.Helper()
			if res := proxytest.Get(t, c, proxytest.Origin+path); res.StatusCode != http.StatusOK {
				t.Error(res.Status)
			}
		}
		mustGet("/")
		proxytest.Eventually(t, func() error { // there is much for a while only, and others may end a turn
			mustGet("/much")
			if !taken.Load() {
				return errors.New("it is signed in no turn")
			}
			return nil
		})
		proxytest.Eventually(t, noTurn)
	})
}

// TestDialsTakeNoTurn has a request over HTTP/2 for which a connection is made while there is much
// to do for its client. The turn that it had ends before.
func TestDialsTakeNoTurn(t *testing.T) {
	t.Parallel()
	backend := proxytest.NewBackend(t, proxytest.H2, func(http.ResponseWriter, *http.Request) {})
	var p *testProxy
	var dials atomic.Int64
	p = newProxy(t, backend.Listener.Addr().String(), func(c *Config) {
		c.Signer = proxytest.SignerFunc(func(signer.Request) (*signer.Authorization, error) {
			p.live.set.Locked(func(all iter.Seq[live.Exchange]) {
				for x := range all { // from now on there is much, for an hour
					x.(*exchange).client.(*interceptedConn).Pace.Spend(1<<30, time.Now().Add(time.Hour))
				}
			})
			return proxytest.Bearer(), nil
		})
		c.Upstream.Dial = func(ctx context.Context, by *net.Dialer, address string) (net.Conn, error) {
			for begun := time.Now(); p.turns.Taken() != 0; time.Sleep(time.Millisecond) { // that of who reads ends soon
				if time.Since(begun) > proxytest.Patience/2 {
					t.Error("it has a turn while a connection is made")
					break
				}
			}
			dials.Add(1)
			return by.DialContext(ctx, "tcp", address)
		}
	})
	p.serve(t)
	c := p.client(t, proxytest.H2)
	proxytest.Eventually(t, func() error { // the connection may not be idle yet
		p.current().upstreams.CloseIdleConnections(nil)
		if res := proxytest.Get(t, c, proxytest.Origin+"/"); res.StatusCode != http.StatusOK {
			t.Error(res.Status)
		}
		if dials.Load() < 2 {
			return errors.New("no other connection was made")
		}
		return nil
	})
}

// turnAudit looks at the turns while a decision is recorded.
type turnAudit struct {
	waits bool
	look  func(d audit.Decision)
}

func (a turnAudit) Waits() bool { return a.waits }

func (a turnAudit) Audit(d audit.Decision) error {
	a.look(d)
	return nil
}

// TestDisksTakeNoTurn records requests on a connection on which there is much to do, with an audit
// log that waits for the disk, and with one that does not.
func TestDisksTakeNoTurn(t *testing.T) {
	t.Parallel()
	proxytest.EachProto(t, func(t *testing.T, proto string) {
		for _, waits := range []bool{false, true} {
			address, _ := countingBackend(t)
			var p *testProxy
			var taken atomic.Bool
			p = newProxy(t, address, func(c *Config) {
				c.Audit = turnAudit{waits, func(d audit.Decision) {
					for begun := time.Now(); d.Path == "/much" && waits && p.turns.Taken() != 0; time.Sleep(time.Millisecond) { // that of who reads ends soon
						if time.Since(begun) > proxytest.Patience/2 {
							t.Error("it has a turn while the disk is waited for")
							break
						}
					}
					if d.Path == "/much" && p.turns.Taken() > 0 {
						taken.Store(true)
					}
					p.live.set.Locked(func(all iter.Seq[live.Exchange]) {
						for x := range all { // from now on there is much, for an hour
							if conn, ok := x.(*exchange).client.(*interceptedConn); ok {
								conn.Pace.Spend(1<<30, time.Now().Add(time.Hour))
							}
						}
					})
				}}
			})
			p.serve(t)
			c := p.client(t, proto)
			mustGet := func(path string) {
				t.Helper()
				if res := proxytest.Get(t, c, proxytest.Origin+path); res.StatusCode != http.StatusOK {
					t.Error(res.Status)
				} else {
					proxytest.ReadAll(t, res.Body)
				}
			}
			mustGet("/")
			mustGet("/much")
			if waits {
				continue
			}
			proxytest.Eventually(t, func() error { // there is much for a while only, and others may end a turn
				if !taken.Load() {
					mustGet("/much")
				}
				if !taken.Load() {
					return errors.New("it has no turn")
				}
				return nil
			})
		}
	})
}

// TestUploadsTakeTurns has an upload that its server does not read: the turn that it waits in
// keeps nobody from anything.
func TestUploadsTakeTurns(t *testing.T) {
	t.Parallel()
	proxytest.EachWay(t, func(t *testing.T, client, server string) {
		begun, release := make(chan struct{}), make(chan struct{})
		backend := proxytest.NewBackend(t, server, func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/stuck" {
				close(begun)
				<-release
			}
			_, _ = io.Copy(io.Discard, r.Body)
		})
		p := newProxy(t, backend.Listener.Addr().String())
		p.turns = track.NewTurns(1)
		p.serve(t)
		const size = 64 << 20 / lighter
		stuck := make(chan int, 1)
		go func() {
			r := proxytest.NewRequest(t, http.MethodPost, proxytest.Origin+"/stuck", io.LimitReader(zeros{}, size))
			r.ContentLength = size
			stuck <- proxytest.Do(t, p.client(t, client), r).StatusCode
		}()
		<-begun
		for range 3 {
			// A handshake of its own. No body: a server may share one window among all uploads.
			r := proxytest.NewRequest(t, http.MethodGet, proxytest.Origin+"/", nil)
			if res := proxytest.Do(t, p.client(t, client), r); res.StatusCode != http.StatusOK {
				t.Errorf("another request: %s", res.Status)
			}
		}
		var other track.Turn // ends when somebody else waits for one
		p.turns.Begin(&other, track.Key{Kind: track.Label, Name: "other"})
		close(release)
		if status := <-stuck; status != http.StatusOK {
			t.Errorf("status %d", status)
		}
		proxytest.Eventually(t, func() error {
			if n := p.turns.Taken(); n != 0 {
				return fmt.Errorf("%d turns are taken", n)
			}
			return nil
		})
	})
}

// TestUploadsAwaitTheirShare has a label send more than may come at once while another works that has
// little to do. It takes as long as its share says.
func TestUploadsAwaitTheirShare(t *testing.T) {
	t.Parallel()
	const size = 24 << 20
	discard := func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }
	upload := func(t *testing.T, p *testProxy, client, url string) {
		t.Helper()
		p.turns = track.NewTurns(1)
		p.serve(t)
		p.turns.NoteLight("light", time.Now())
		r := proxytest.NewRequest(t, http.MethodPost, url, io.LimitReader(zeros{}, size))
		r.ContentLength = size
		begun := time.Now()
		if res := proxytest.Do(t, p.client(t, client), r); res.StatusCode != http.StatusOK {
			t.Fatal(res.Status)
		}
		// 8 MiB at once, and 80 in a second.
		if took := time.Since(begun); took < 190*time.Millisecond {
			t.Errorf("it took %s", took)
		}
	}
	proxytest.EachWay(t, func(t *testing.T, client, server string) {
		backend := proxytest.NewBackend(t, server, discard)
		upload(t, newProxy(t, backend.Listener.Addr().String()), client, proxytest.Origin+"/")
	})
	t.Run("plain", func(t *testing.T) {
		t.Parallel()
		plain := httptest.NewServer(http.HandlerFunc(discard))
		t.Cleanup(plain.Close)
		p := newProxy(t, "", func(c *Config) { c.Upstream.ConnectTo["plain.example:80"] = plain.Listener.Addr().String() })
		upload(t, p, proxytest.H1, "http://plain.example/")
	})
}

// TestManyRequestsAwaitTheirShare has a label ask for more answers at a time than may come at once while
// another works that has little to do: the requests beyond that begin one after another.
func TestManyRequestsAwaitTheirShare(t *testing.T) {
	t.Parallel()
	const wide, more = 32, 60
	proxytest.EachProto(t, func(t *testing.T, proto string) {
		begun, release := make(chan struct{}), make(chan struct{})
		backend := proxytest.NewBackend(t, proxytest.H2, func(http.ResponseWriter, *http.Request) {
			begun <- struct{}{}
			<-release
		})
		p := newProxy(t, backend.Listener.Addr().String())
		p.turns = track.NewTurns(1)
		p.serve(t)
		p.turns.NoteLight("light", time.Now())
		client := p.client(t, proto)
		var asked sync.WaitGroup
		ask := func(n int) {
			for range n {
				asked.Go(func() { proxytest.Get(t, client, proxytest.Origin+"/") })
			}
			for range n {
				<-begun
			}
		}
		ask(wide)
		before := time.Now()
		ask(more)
		// One of them at once, and 400 in a second.
		if took := time.Since(before); took < 145*time.Millisecond {
			t.Errorf("%d requests took %s", more, took)
		}
		close(release)
		asked.Wait()
	})
}

// TestUploadsAreBounded refuses an upload whose buffer there is no room for, as long as others
// run, and none that is small or of another label.
func TestUploadsAreBounded(t *testing.T) {
	t.Parallel()
	proxytest.EachWay(t, func(t *testing.T, client, server string) {
		begun := make(chan struct{}, 1)
		backend := proxytest.NewBackend(t, server, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = r.Body.Read(make([]byte, 1))
			if r.URL.Path == "/first" {
				begun <- struct{}{}
			}
			_, _ = io.Copy(io.Discard, r.Body)
		})
		p := startProxy(t, backend.Listener.Addr().String())
		bounds := live.BoundsOf(1<<30, 100)
		bounds.Uploads = live.Share{All: 4 << 20, Label: 1 << 20}
		p.live.set.SetBounds(bounds)
		ask := func(path string, body io.Reader, length int64) *http.Response {
			r := proxytest.NewRequest(t, http.MethodPost, proxytest.Origin+path, body)
			r.ContentLength = length
			return proxytest.Do(t, p.client(t, client), r)
		}
		body, write := io.Pipe()
		var running sync.WaitGroup
		for range 2 {
			r := proxytest.NewRequest(t, http.MethodPost, proxytest.Origin+"/first", io.MultiReader(strings.NewReader("x"), body))
			r.ContentLength = 10 << 20
			running.Go(func() { // until the body fails
				if res, err := p.client(t, client).Do(r); err == nil {
					res.Body.Close()
				}
			})
			<-begun
		}
		if res := ask("/", strings.NewReader("small"), 5); res.StatusCode != http.StatusOK {
			t.Errorf("a small one: %s", res.Status)
		}
		res := ask("/", io.LimitReader(zeros{}, 100<<10), 100<<10)
		if text := proxytest.ReadAll(t, res.Body); res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || !strings.Contains(text, "large bodies") {
			t.Errorf("%s %s", res.Status, text)
		}
		// A body with trailers is a large one until its end.
		trailing := proxytest.NewRequest(t, http.MethodPost, proxytest.Origin+"/", io.LimitReader(zeros{}, 100<<10))
		trailing.ContentLength, trailing.Trailer = -1, http.Header{"X-After": {"after"}}
		if res := proxytest.Do(t, p.client(t, client), trailing); res.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("with a trailer: %s", res.Status)
		}
		_ = write.CloseWithError(errors.New("given up"))
		running.Wait()
		proxytest.Eventually(t, func() error {
			if res := ask("/", io.LimitReader(zeros{}, 100<<10), 100<<10); res.StatusCode != http.StatusOK {
				return errors.New(res.Status)
			}
			return nil
		})
	})
}

// TestBodiesLeaveTheirTurn reads a piece of a request's body in a turn, which has ended when the
// piece is about to be sent on. Over HTTP/2 the turn is that of the goroutine that reads for all.
func TestBodiesLeaveTheirTurn(t *testing.T) {
	t.Parallel()
	for stream, want := range map[bool]int{false: 0, true: 1} {
		turns := track.NewTurns(1)
		near, far := net.Pipe()
		defer far.Close()
		conn := netconn.NewPacedConn(near, turns, track.Key{Kind: track.Label})
		defer conn.Close()
		x := &exchange{facts: facts{client: conn}, traffic: traffic{stream: stream}}
		b := &outgoingBody{body: readerFunc(func([]byte) (int, error) { conn.BeginTurn(); return 1, nil }), x: x}
		if _, err := b.Read(make([]byte, 1)); err != nil || turns.Taken() != want {
			t.Errorf("stream %t: %d turns, %v", stream, turns.Taken(), err)
		}
	}
}

// TestUpgradesWithBodies has a request that asks for an upgrade have a large body, which is bounded
// like any other.
func TestUpgradesWithBodies(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}), make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	defer free()
	p := startProxy(t, proxytest.NewRawTLSServer(t, func(c *tls.Conn) {
		head, err := proxytest.RequestHead(bufio.NewReader(c))
		if err != nil {
			return
		}
		if strings.Contains(strings.Join(head, ""), "/stuck") {
			close(begun)
			<-release
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		_, _ = io.Copy(io.Discard, c)
	}))
	bounds := live.BoundsOf(1<<30, 100)
	bounds.Uploads = live.Share{All: 4 << 20, Label: 512 << 10}
	p.live.set.SetBounds(bounds)
	ask := func(path string, length int) *proxytest.RawConn {
		c := p.intercepted(t)
		c.Send(t, "POST %s HTTP/1.1\r\nHost: chatgpt.com\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: %d\r\n\r\n", path, length)
		return c
	}
	stuck := ask("/stuck", 64<<20)
	go func() { _, _ = io.CopyN(stuck.Conn, zeros{}, 64<<20) }() // until the connection is closed
	proxytest.Wait(t, "the upload begins", begun)
	refused := ask("/", 100<<10)
	proxytest.WantRefusal(t, refused.Response(t, http.MethodPost), http.StatusServiceUnavailable, "busy", "http_request_denied")
	small := ask("/", 5)
	small.Send(t, "small")
	if res := small.Response(t, http.MethodPost); res.StatusCode != http.StatusOK {
		t.Errorf("a small one: %s", res.Status)
	}
	free()
	if res := stuck.Response(t, http.MethodPost); res.StatusCode != http.StatusOK {
		t.Errorf("the large one: %s", res.Status)
	}
	stuck.Close()
	proxytest.Eventually(t, func() error {
		if n := p.turns.Taken(); n != 0 {
			return fmt.Errorf("%d turns are taken at the end", n)
		}
		return nil
	})
}

// namedConn is a connection of a client at an address, which notes when it is asked for that.
type namedConn struct {
	net.Conn
	address string
	asked   func()
}

// RemoteAddr implements [net.Conn].
func (c namedConn) RemoteAddr() net.Addr {
	c.asked()
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.address))
}

// LocalAddr implements [net.Conn].
func (c namedConn) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 8080} }

// TestStrangersTakeTurnsByNetwork has strangers wait for their turn. Those of one network of IPv6
// share theirs.
func TestStrangersTakeTurnsByNetwork(t *testing.T) {
	t.Parallel()
	p := newProxy(t, "")
	defer p.cutNow()
	synctest.Test(t, func(t *testing.T) {
		p.turns = track.NewTurns(1)
		var other track.Turn
		p.turns.Begin(&other, track.Key{Kind: track.Label})
		var mu sync.Mutex
		var order []string
		for _, address := range []string{"[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1", "[2001:db8:0:1::1]:1", "198.51.100.1:1"} {
			reads := false
			here, there := net.Pipe()
			defer there.Close()
			conn := netconn.NewStallConn(namedConn{here, address, func() {
				mu.Lock()
				defer mu.Unlock()
				if reads { // in its turn
					order = append(order, address)
				}
			}}, time.Minute, netconn.Head{Take: p.live.set.TakeHead, Turns: p.turns}, func() {})
			defer conn.Close()
			p.newClientConn(conn)
			reads = true
			go func() { _, _ = conn.Read(make([]byte, 1)) }()
			synctest.Wait()
		}
		other.End()
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		got := slices.Compact(order)
		if want := []string{"[2001:db8::1]:1", "[2001:db8:0:1::1]:1", "198.51.100.1:1", "[2001:db8::2]:1", "[2001:db8::3]:1"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}
