package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/proxy/internal/h1server"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// newTestH1Server serves handler as intercepted connections are served, at the
// address that it returns.
func newTestH1Server(t testing.TB, handler http.HandlerFunc) string {
	t.Helper()
	return newTestH1ServerWith(t, handler, 0, func(c net.Conn) net.Conn { return c })
}

// newTestH1ServerWith is newTestH1Server with another BriefWait, for connections that wrap
// returns.
func newTestH1ServerWith(t testing.TB, handler http.HandlerFunc, brief time.Duration, wrap func(net.Conn) net.Conn) string {
	t.Helper()
	ctx, cut := context.WithCancel(context.Background())
	config := proxytest.ServerTLS()
	config.NextProtos = []string{"http/1.1"}
	s := h1server.New(h1server.Config{
		Handler: handler, TLS: config, HandOver: func(c net.Conn) { c.Close() }, BaseContext: ctx,
		ConnContext:      func(ctx context.Context, _ net.Conn) context.Context { return ctx },
		HandshakeTimeout: proxytest.Patience, IdleTimeout: proxytest.Patience, BriefWait: brief, Linger: h1server.Linger{Pause: proxytest.Patience, Total: proxytest.Patience},
		ErrorLog: log.New(io.Discard, "", 0),
	})
	address := proxytest.NewRawServer(t, func(c net.Conn) { s.Serve(wrap(c)) })
	t.Cleanup(func() {
		cut()
		_ = s.Shutdown(context.Background())
	})
	return address
}

// newNetHTTPServer serves handler with net/http.
func newNetHTTPServer(t testing.TB, handler http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.TLS = proxytest.ServerTLS()
	s.TLS.NextProtos = []string{"http/1.1"}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// answerSeen is what a client sees of an answer.
type answerSeen struct {
	Informed         []int
	Status           string
	Header, Trailer  http.Header
	TransferEncoding []string
	Length           int64
	Close            bool
	Body             string
	Cut              bool // the body has no proper end
	Ended            bool // no further request is answered
}

func seeAnswer(t *testing.T, address, method, request string) (seen answerSeen) {
	t.Helper()
	raw, err := tls.Dial("tcp", address, &tls.Config{RootCAs: proxytest.Pool(proxytest.ServerCA()), ServerName: proxytest.Host})
	if err != nil {
		t.Fatal(err)
	}
	c := proxytest.NewRawConn(t, raw)
	c.Send(t, "%s", request)
	for {
		res, err := http.ReadResponse(c.R, &http.Request{Method: method})
		if err != nil {
			seen.Status = "none"
			return seen
		}
		if res.StatusCode < 200 {
			seen.Informed = append(seen.Informed, res.StatusCode)
			continue
		}
		body, err := io.ReadAll(res.Body)
		res.Header.Del("Date")
		seen.Status, seen.Header, seen.Trailer, seen.TransferEncoding = res.Status, res.Header, res.Trailer, res.TransferEncoding
		seen.Length, seen.Close, seen.Body, seen.Cut = res.ContentLength, res.Close, string(body), err != nil
		break
	}
	// A server that has closed the connection does not answer any more.
	_, _ = io.WriteString(c, "GET /x HTTP/1.1\r\nHost: "+proxytest.Host+"\r\n\r\n")
	_, err = http.ReadResponse(c.R, nil)
	seen.Ended = err != nil
	return seen
}

// TestH1AnswerAsNetHTTP has clients see what net/http would have shown them.
func TestH1AnswerAsNetHTTP(t *testing.T) {
	t.Parallel()
	flush := func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }
	typed := func(w http.ResponseWriter) http.Header {
		w.Header()["Content-Type"] = []string{"text/x"}
		return w.Header()
	}
	handlers := map[string]http.HandlerFunc{
		"nothing": func(http.ResponseWriter, *http.Request) {},
		"status":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) },
		"strange": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(299) },
		"no body": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"twice":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201); w.WriteHeader(202) },
		"no type": func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = nil
			flush(w)
			_, _ = io.WriteString(w, "x")
		},
		"flushed":  func(w http.ResponseWriter, _ *http.Request) { typed(w); flush(w) },
		"no panic": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"panic":    func(http.ResponseWriter, *http.Request) { panic("it is out of order") },
		"not modified": func(w http.ResponseWriter, _ *http.Request) {
			typed(w)["Content-Length"] = []string{"7"}
			w.Header().Set("Etag", `"x"`)
			w.WriteHeader(http.StatusNotModified)
			_, _ = io.WriteString(w, "refused")
		},
		"length": func(w http.ResponseWriter, _ *http.Request) {
			typed(w)["Content-Length"] = []string{"5"}
			_, _ = io.WriteString(w, "hello")
		},
		"too short": func(w http.ResponseWriter, _ *http.Request) {
			typed(w)["Content-Length"] = []string{"50"}
			_, _ = io.WriteString(w, "hello")
		},
		"too long": func(w http.ResponseWriter, _ *http.Request) {
			typed(w)["Content-Length"] = []string{"5"}
			_, _ = io.WriteString(w, "hello")
			if n, err := io.WriteString(w, " world"); n != 0 || err != http.ErrContentLength {
				t.Errorf("%d, %v", n, err)
			}
		},
		"large": func(w http.ResponseWriter, _ *http.Request) {
			typed(w)["Content-Length"] = []string{"300000"}
			_, _ = io.WriteString(w, strings.Repeat("abc", 100_000))
		},
		"chunks": func(w http.ResponseWriter, _ *http.Request) {
			typed(w)
			for i := range 3 {
				_, _ = io.WriteString(w, strings.Repeat("x", i*50_000))
				flush(w)
			}
		},
		"cut": func(w http.ResponseWriter, _ *http.Request) {
			typed(w)
			_, _ = io.WriteString(w, "hel")
			flush(w)
			panic(http.ErrAbortHandler)
		},
		"trailers": func(w http.ResponseWriter, _ *http.Request) {
			typed(w)["Trailer"] = []string{"Sum, Never", "Other"}
			_, _ = io.WriteString(w, "hello")
			flush(w)
			w.Header()["Sum"], w.Header()["Other"] = []string{"1"}, []string{"2", "3"}
			w.Header()["Unannounced"] = []string{"4"}
		},
		"late trailers": func(w http.ResponseWriter, _ *http.Request) {
			typed(w)
			_, _ = io.WriteString(w, "hello")
			flush(w)
			w.Header()[http.TrailerPrefix+"Sum"] = []string{"1"}
		},
		"informed": func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Link"] = []string{"</x>"}
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusProcessing)
			w.Header()["Content-Length"] = []string{"0"}
		},
		"close": func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Connection"] = []string{"close"}
			w.Header()["Content-Length"] = []string{"0"}
		},
		"injected": func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["X"] = []string{"a\r\nInjected: yes"}
			w.Header()["Bad name"] = []string{"x"}
			w.Header()["Content-Length"] = []string{"0"}
		},
		"read": func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			typed(w)["Content-Length"] = []string{"9"}
			fmt.Fprintf(w, "%-9.9s", fmt.Sprint(len(body), err))
		},
	}
	for name, handler := range handlers {
		// As the proxy has it, for all its exchanges.
		duplex := func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).EnableFullDuplex()
			handler(w, r)
		}
		ours, theirs := newTestH1Server(t, duplex), newNetHTTPServer(t, duplex)
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
			request := method + " /x HTTP/1.1\r\nHost: " + proxytest.Host + "\r\n\r\n"
			if method == http.MethodPost && name == "read" {
				request = method + " /x HTTP/1.1\r\nHost: " + proxytest.Host + "\r\nContent-Length: 5\r\n\r\nhello"
			}
			got, want := seeAnswer(t, ours, method, request), seeAnswer(t, theirs, method, request)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s, %s:\n%+v, with net/http\n%+v", name, method, got, want)
			}
		}
	}
}

// TestH1SplitRequests has requests come in two records, of which the first has one byte. A
// connection has no buffer before that.
func TestH1SplitRequests(t *testing.T) {
	t.Parallel()
	address := newTestH1Server(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	raw, err := tls.Dial("tcp", address, &tls.Config{RootCAs: proxytest.Pool(proxytest.ServerCA()), ServerName: proxytest.Host})
	if err != nil {
		t.Fatal(err)
	}
	c := proxytest.NewRawConn(t, raw)
	for i := range 3 {
		c.Send(t, "P")
		c.Send(t, "OST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell%d", i)
		res, err := http.ReadResponse(c.R, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(res.Body); err != nil || string(body) != fmt.Sprintf("hell%d", i) {
			t.Errorf("body %q, %v", body, err)
		}
	}
}

// TestH1LongWait has a connection wait for so long that it waits below TLS. It answers the next
// request, ends when its client goes away, and does not hold up a shutdown.
func TestH1LongWait(t *testing.T) {
	t.Parallel()
	waits := make(chan struct{}, 10)
	wrap := func(c net.Conn) net.Conn { return &longWaits{TCPConn: c.(*net.TCPConn), waits: waits} }
	address := newTestH1ServerWith(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }, time.Millisecond, wrap)
	waitsLong := func() {
		select {
		case <-waits:
		case <-time.After(proxytest.Patience):
			t.Fatal("it does not wait below TLS")
		}
	}
	for _, leaves := range []bool{true, false} {
		raw, err := tls.Dial("tcp", address, &tls.Config{RootCAs: proxytest.Pool(proxytest.ServerCA()), ServerName: proxytest.Host})
		if err != nil {
			t.Fatal(err)
		}
		c := proxytest.NewRawConn(t, raw)
		for range 2 {
			waitsLong()
			c.Send(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			res, err := http.ReadResponse(c.R, nil)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
		}
		waitsLong()
		if leaves {
			raw.Close()
		}
	}
}

// longWaits is a connection that tells when its server begins to wait below TLS: it is given
// a late deadline after one that has passed.
type longWaits struct {
	*net.TCPConn
	waits chan<- struct{}
	by    time.Time
}

func (c *longWaits) SetReadDeadline(by time.Time) error {
	if now := time.Now(); !c.by.IsZero() && c.by.Before(now) && by.After(now.Add(proxytest.Patience/2)) {
		c.waits <- struct{}{}
	}
	c.by = by
	return c.TCPConn.SetReadDeadline(by)
}
