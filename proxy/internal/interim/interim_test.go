package interim

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/agentproxy/agentproxy/internal/contain"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// reader is a client that reads a response whenever a value can be taken from reads.
type reader struct {
	reads chan struct{} // nil: it always does
	got   []string
}

// Redact implements [Client].
func (c *reader) Redact(h http.Header) {
	for _, values := range h {
		for i, v := range values {
			values[i] = strings.ReplaceAll(v, "secret", "***")
		}
	}
}

// WriteInterim implements [Client].
func (c *reader) WriteInterim(status int, fields http.Header) {
	if c.reads != nil {
		<-c.reads
	}
	got := fmt.Sprint(status)
	if n := fields.Get("N"); n != "" {
		got += " " + n
	}
	c.got = append(c.got, got)
}

func hint(n, length int) textproto.MIMEHeader {
	return textproto.MIMEHeader{"N": {fmt.Sprint(n)}, "Link": {strings.Repeat("x", length)}}
}

// TestInOrder has a client get each response in order, without what is not for it. The
// transport's header stays as it is.
func TestInOrder(t *testing.T) {
	t.Parallel()
	var unread atomic.Int64
	var got []http.Header
	q := New(recorder(func(status int, h http.Header) { got = append(got, h) }), &unread, false)
	for i := range 1000 {
		h := textproto.MIMEHeader{"N": {fmt.Sprint(i), "a secret"}, "Connection": {"X-Own"}, "X-Own": {"x"}, "Keep-Alive": {"x"}}
		if err := q.Send(http.StatusEarlyHints, h); err != nil {
			t.Fatal(err)
		}
		if h["N"][1] != "a secret" || len(h) != 4 {
			t.Fatalf("the transport's header became %v", h)
		}
	}
	q.Stop()
	if err := q.Send(http.StatusEarlyHints, hint(0, 0)); err != nil {
		t.Errorf("after the end: %v", err)
	}
	if len(got) != 1000 || unread.Load() != 0 {
		t.Fatalf("%d responses, %d bytes are left", len(got), unread.Load())
	}
	for i, h := range got {
		if want := (http.Header{"N": {fmt.Sprint(i), "a ***"}}); !reflect.DeepEqual(h, want) {
			t.Errorf("response %d: %v, want %v", i, h, want)
		}
	}
}

// recorder is a client that reads everything.
type recorder func(status int, h http.Header)

// Redact implements [Client].
func (recorder) Redact(h http.Header) { (*reader)(nil).Redact(h) }

// Panicked implements [Client].
func (recorder) Panicked(*contain.PanicError) {}

// Panicked implements [Client].
func (c *reader) Panicked(*contain.PanicError) {}

// WriteInterim implements [Client].
func (r recorder) WriteInterim(status int, h http.Header) { r(status, h) }

// TestShared has a client read nothing while a server sends many responses on a connection that
// it shares. Sending never waits, and too much ends the request. The client gets what came before.
func TestShared(t *testing.T) {
	t.Parallel()
	for name, length := range map[string]int{"many": 0, "large": 50_000, "larger than all": 2 * MaxUnread} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var unread atomic.Int64
				c := &reader{reads: make(chan struct{})}
				q := New(c, &unread, false)
				q.shared = true
				sent, cost := 0, int64(0)
				for q.Send(http.StatusEarlyHints, hint(sent, length)) == nil {
					cost += costOf(http.Header(hint(sent, length)))
					if sent++; sent > MaxUnread/responseCost {
						t.Fatalf("%d responses wait", sent)
					}
					if held := unread.Load(); sent > 1 && held > MaxUnread {
						t.Fatalf("%d bytes wait", held)
					}
				}
				if sent == 0 {
					t.Error("not even one may wait")
				}
				if q.Err() != errUnread || q.Send(http.StatusEarlyHints, hint(0, 0)) != errUnread {
					t.Errorf("ended because of %v", q.Err())
				}
				if held := unread.Load(); held != cost {
					t.Errorf("%d bytes are counted, and %d held", held, cost)
				}
				close(c.reads)
				q.Stop()
				if len(c.got) != sent || unread.Load() != 0 {
					t.Errorf("the client got %d of %d, %d bytes are left", len(c.got), sent, unread.Load())
				}
			})
		})
	}
}

// TestExclusive has a server send more than may wait on a connection of the client's own. It
// waits for the client, which gets all of them.
func TestExclusive(t *testing.T) {
	t.Parallel()
	const n, length = 100, 20_000
	synctest.Test(t, func(t *testing.T) {
		var unread atomic.Int64
		c := &reader{reads: make(chan struct{})}
		q := New(c, &unread, false)
		sent := 0
		go func() {
			for ; sent < n; sent++ {
				if err := q.Send(http.StatusEarlyHints, hint(sent, length)); err != nil {
					t.Error(err)
				}
			}
			q.Stop()
		}()
		synctest.Wait()
		if held := unread.Load(); sent == n || held > MaxUnread || held < MaxUnread/2 {
			t.Errorf("%d were sent, %d bytes wait", sent, held)
		}
		for range n {
			c.reads <- struct{}{}
		}
		synctest.Wait()
		for i, got := range c.got {
			if want := fmt.Sprintf("103 %d", i); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		if len(c.got) != n || unread.Load() != 0 {
			t.Errorf("%d came, %d bytes are left", len(c.got), unread.Load())
		}
	})
}

// TestStopWhileWaiting has a request be given up while a transport waits for its client.
func TestStopWhileWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var unread atomic.Int64
		c := &reader{reads: make(chan struct{})}
		q := New(c, &unread, false)
		for range 2 {
			go func() {
				if err := q.Send(http.StatusEarlyHints, hint(0, MaxUnread)); err != nil {
					t.Error(err)
				}
			}()
		}
		synctest.Wait()
		go q.Stop()
		synctest.Wait() // the second Send has returned
		c.reads <- struct{}{}
		q.Stop()
		if len(c.got) != 1 {
			t.Errorf("the client got %v", c.got)
		}
	})
}

// TestAsk has a client be asked for its body once, among other responses, before it is read.
func TestAsk(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name       string
		asks       bool
		before     func(q *Queue)
		want       []string
		wantsError bool
	}{
		{"nobody waits", false, func(*Queue) {}, nil, false},
		{"at once", true, func(*Queue) {}, []string{"100"}, false},
		{"behind another", true, func(q *Queue) { _ = q.Send(103, hint(1, 0)) }, []string{"103 1", "100"}, false},
		{"after the end", true, func(q *Queue) { q.Stop() }, nil, false},
		{"after a failure", true, func(q *Queue) { _ = q.Send(101, nil) }, nil, true},
		{"a server's own is not passed on", false, func(q *Queue) { _ = q.Send(100, nil) }, nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var unread atomic.Int64
			c := new(reader)
			q := New(c, &unread, test.asks)
			test.before(q)
			for range 2 {
				if err := q.Ask(); (err != nil) != test.wantsError {
					t.Error(err)
				}
			}
			q.Stop()
			if !reflect.DeepEqual(c.got, test.want) || unread.Load() != 0 {
				t.Errorf("%q, want %q; %d bytes are left", c.got, test.want, unread.Load())
			}
		})
	}
	if err := (*Queue)(nil).Ask(); err != nil {
		t.Error(err)
	}
}

// TestAskAfterStop has a body be read for the first time while the last responses are written:
// net/http, which asks by itself then, has the connection to itself.
func TestAskAfterStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var unread atomic.Int64
		c := &reader{reads: make(chan struct{})}
		q := New(c, &unread, true)
		_ = q.Send(http.StatusEarlyHints, hint(0, 0))
		go q.Stop()
		synctest.Wait()
		asked := false
		go func() {
			if err := q.Ask(); err != nil {
				t.Error(err)
			}
			asked = true
		}()
		synctest.Wait()
		if asked {
			t.Error("the body is read while a response is written")
		}
		c.reads <- struct{}{}
		synctest.Wait()
		if !asked || len(c.got) != 1 {
			t.Errorf("the client got %v; the body is read: %v", c.got, asked)
		}
	})
}

// TestGotConn knows connections that are shared by their protocol.
func TestGotConn(t *testing.T) {
	t.Parallel()
	q := New(nil, nil, false)
	for _, proto := range []string{"h2", "http/1.1"} {
		a, b := net.Pipe()
		defer a.Close()
		defer b.Close()
		config := proxytest.ServerTLS()
		config.NextProtos = []string{proto}
		go func() { _ = tls.Server(b, config).Handshake() }()
		conn := tls.Client(a, &tls.Config{NextProtos: []string{proto}, ServerName: proxytest.Host, RootCAs: proxytest.Pool(proxytest.ServerCA())})
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		q.Trace(nil).GotConn(httptrace.GotConnInfo{Conn: conn})
		if q.shared != (proto == "h2") {
			t.Errorf("%s: shared: %v", proto, q.shared)
		}
		q.Trace(nil).GotConn(httptrace.GotConnInfo{Conn: a})
		if q.shared {
			t.Error("a connection without TLS is shared")
		}
	}
}

// broken is a client whose methods panic at a response with a number.
type broken struct {
	recorder
	redact, write string
	told          int
}

// Redact implements [Client].
func (b *broken) Redact(h http.Header) {
	if h.Get("N") == b.redact {
		panic("no header")
	}
}

// WriteInterim implements [Client].
func (b *broken) WriteInterim(status int, h http.Header) {
	b.recorder(status, h)
	if h.Get("N") == b.write {
		panic("no response")
	}
}

// Panicked implements [Client].
func (b *broken) Panicked(*contain.PanicError) { b.told++ }

// TestPanicOfContinue has the program make a mistake with the 100 that is asked for. Nobody reads
// the body then.
func TestPanicOfContinue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var unread atomic.Int64
		c := &broken{recorder: func(int, http.Header) {}, redact: "none"}
		q := New(c, &unread, true)
		if _, ok := errors.AsType[*contain.PanicError](q.Ask()); !ok || c.told != 1 {
			t.Errorf("asked: %v, told %d times", q.Err(), c.told)
		}
		q.Stop()
	})
}

// TestPanic has the program make a mistake with the second response of five. The request ends,
// and nothing is written after that one.
func TestPanic(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]*broken{"of the writer": {write: "1"}, "of a transport": {redact: "1"}} {
		synctest.Test(t, func(t *testing.T) {
			var unread atomic.Int64
			var got []string
			c.recorder = func(_ int, h http.Header) { got = append(got, h.Get("N")) }
			q := New(c, &unread, true)
			failed := 0
			for n := range 5 {
				if err := q.Send(http.StatusEarlyHints, hint(n, 0)); err != nil {
					failed++
				}
				if c.redact != "" {
					synctest.Wait()
				}
			}
			synctest.Wait()
			ofWriter := c.write != ""
			if _, ok := errors.AsType[*contain.PanicError](q.Err()); ok != ofWriter || c.told != 1 || !ofWriter && failed != 1 {
				t.Errorf("%s: ended because of %v, told %d times, %d failed", name, q.Err(), c.told, failed)
			}
			if ofWriter {
				if q.Send(http.StatusEarlyHints, hint(5, 0)) == nil || q.Ask() == nil {
					t.Errorf("%s: it goes on", name)
				}
			}
			q.Stop()
			if want := map[bool]string{true: "[0 1]", false: "[0 2 3 4]"}[ofWriter]; fmt.Sprint(got) != want || unread.Load() != 0 {
				t.Errorf("%s: %v, want %s; %d bytes are left", name, got, want, unread.Load())
			}
		})
	}
}
