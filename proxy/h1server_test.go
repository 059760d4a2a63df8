package proxy

import (
	"bufio"
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

	"golang.org/x/net/http/httpguts"

	"github.com/agentproxy/agentproxy/proxy/internal/track"
)

// newTestH1Server serves handler as intercepted connections are served, at the
// address that it returns.
func newTestH1Server(t testing.TB, handler http.HandlerFunc) string {
	t.Helper()
	ctx, cut := context.WithCancel(context.Background())
	others := newInterceptListener()
	s := &h1Server{
		handler: handler, tls: serverTLS(), others: others, ctx: ctx, log: log.New(io.Discard, "", 0),
		handshake: patience, idle: patience, conns: track.NewInFlight(), waiting: make(map[*h1ServerConn]struct{}),
	}
	s.tls.NextProtos = []string{"http/1.1"}
	address := newRawServer(t, func(c net.Conn) { s.serve(&interceptedConn{Conn: c}) })
	t.Cleanup(func() {
		cut()
		others.Close()
		_ = s.conns.Wait(context.Background())
	})
	return address
}

// newNetHTTPServer serves handler with net/http.
func newNetHTTPServer(t testing.TB, handler http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.TLS = serverTLS()
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
	raw, err := tls.Dial("tcp", address, &tls.Config{RootCAs: pool(serverCA), ServerName: host})
	if err != nil {
		t.Fatal(err)
	}
	c := newRawConn(t, raw)
	c.send(t, "%s", request)
	for {
		res, err := http.ReadResponse(c.r, &http.Request{Method: method})
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
	_, _ = io.WriteString(c, "GET /x HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
	_, err = http.ReadResponse(c.r, nil)
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
			request := method + " /x HTTP/1.1\r\nHost: " + host + "\r\n\r\n"
			if method == http.MethodPost && name == "read" {
				request = method + " /x HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 5\r\n\r\nhello"
			}
			got, want := seeAnswer(t, ours, method, request), seeAnswer(t, theirs, method, request)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s, %s:\n%+v, with net/http\n%+v", name, method, got, want)
			}
		}
	}
}

// TestHandOver has net/http answer what is not plain, on the connection on which
// plain requests were answered before it, and after it.
func TestHandOver(t *testing.T) {
	t.Parallel()
	backend := newBackend(t, h1, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header()["X-Length"] = []string{fmt.Sprint(len(body))}
		_, _ = w.Write(body)
	})
	p := startProxy(t, backend.Listener.Addr().String())
	const plain = "GET /plain HTTP/1.1\r\nHost: " + host + "\r\n\r\n"
	for name, c := range map[string]struct {
		request string
		status  int
		ends    bool // and the connection with it
	}{
		"chunked":        {"POST / HTTP/1.1\r\nHost: " + host + "\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 200, false},
		"close":          {"GET / HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n", 200, true},
		"HTTP/1.0":       {"GET / HTTP/1.0\r\nHost: " + host + "\r\n\r\n", 200, true},
		"another method": {"PROPFIND / HTTP/1.1\r\nHost: " + host + "\r\n\r\n", 405, false},
		"whole URL":      {"GET https://" + host + "/ HTTP/1.1\r\nHost: " + host + "\r\n\r\n", 200, false},
		"a long header":  {"GET / HTTP/1.1\r\nHost: " + host + "\r\nX: " + strings.Repeat("x", 5000) + "\r\n\r\n", 200, false},
		"no host":        {"GET / HTTP/1.1\r\n\r\n", 400, true},
		"two hosts":      {"GET / HTTP/1.1\r\nHost: " + host + "\r\nHost: " + host + "\r\n\r\n", 400, true},
		"a bad host":     {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, true},
		"a bad escape":   {"GET /%zz HTTP/1.1\r\nHost: " + host + "\r\n\r\n", 400, true},
		"two lengths":    {"POST / HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400, true},
		"a bad length":   {"POST / HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: +5\r\n\r\nhello", 400, true},
		"a control":      {"GET / HTTP/1.1\r\nHost: " + host + "\r\nX: a\x01b\r\n\r\n", 400, true},
		"rubbish":        {"\x00\x01\x02\r\n\r\n", 400, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := p.intercepted(t, "http/1.1")
			ask := func(request string) *http.Response {
				t.Helper()
				client.send(t, "%s", request)
				res := client.response(t, http.MethodGet)
				readAll(t, res.Body)
				return res
			}
			for range 2 {
				if res := ask(plain); res.StatusCode != http.StatusOK {
					t.Fatalf("before: %s", res.Status)
				}
			}
			res := ask(c.request)
			if res.StatusCode != c.status {
				t.Errorf("%s, want %d", res.Status, c.status)
			}
			if c.ends {
				client.expectEOF(t)
			} else if res := ask(plain); res.StatusCode != http.StatusOK {
				t.Errorf("after: %s", res.Status)
			}
		})
	}
	t.Run("in pieces", func(t *testing.T) {
		t.Parallel()
		client := p.intercepted(t, "http/1.1")
		for _, piece := range []string{plain[:7], plain[7:20], plain[20:] + plain + plain[:9], plain[9:]} {
			client.send(t, "%s", piece)
		}
		for range 3 {
			if res := client.response(t, http.MethodGet); res.StatusCode != http.StatusOK {
				t.Errorf("%s", res.Status)
			}
		}
	})
}

// oneShot is a connection that has b to be read, and then ends.
type oneShot struct {
	net.Conn
	r io.Reader
}

func (c oneShot) Read(p []byte) (int, error) { return c.r.Read(p) }

// FuzzPlainHead has net/http's server understand every plain head as it is
// understood here, to its last byte.
func FuzzPlainHead(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /a?b=c HTTP/1.1\r\nhOsT:a \r\nX:\r\nconnection: Keep-Alive\r\nContent-Length: 3\r\n\r\nabcGET",
		"GET / HTTP/1.1\r\nHost: a\r\nContent-Length:  0x1\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", "GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n X: b\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", "GET / HTTP/1.1\r\n\r\nHost: a\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "GET //a HTTP/1.1\r\nHost: [::1]:1\r\n\r\n", "HEAD /%2f%zz HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4096 || !plainHead(b) {
			return
		}
		reader := bufio.NewReader(strings.NewReader(string(b)))
		_, _ = reader.Peek(len(b))
		got, err := http.ReadRequest(reader)
		if err != nil {
			return // and net/http is asked
		}
		end := strings.Index(string(b), "\r\n\r\n") + len("\r\n\r\n")
		if left := reader.Buffered(); left != len(b)-end {
			t.Errorf("%q: %d bytes are left, want %d", b, left, len(b)-end)
		}
		if got.ProtoMajor != 1 || got.ProtoMinor != 1 || got.TransferEncoding != nil || got.Close || got.Trailer != nil || got.URL.IsAbs() {
			t.Errorf("%q: %+v", b, got)
		}
		ours, theirs := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		var want *http.Request
		done := make(chan struct{})
		l := newInterceptListener()
		server := &http.Server{
			ErrorLog: log.New(io.Discard, "", 0), DisableGeneralOptionsHandler: true,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if want == nil {
					want = r
				}
				w.Header()["Connection"] = []string{"close"}
			}),
			ConnState: func(_ net.Conn, state http.ConnState) {
				if state == http.StateClosed {
					close(done)
				}
			},
		}
		go func() { _ = server.Serve(l) }()
		l.deliver(oneShot{ours, strings.NewReader(string(b))})
		<-done
		_ = server.Close()
		theirs.Close()
		switch {
		case want == nil:
			if httpguts.ValidHostHeader(got.Host) {
				t.Errorf("%q: net/http refuses what is read as %+v", b, got)
			}
		case got.Method != want.Method || got.RequestURI != want.RequestURI || got.Host != want.Host ||
			got.ContentLength != want.ContentLength || !reflect.DeepEqual(got.Header, want.Header):
			t.Errorf("%q: %+v, with net/http %+v", b, got, want)
		}
	})
}
