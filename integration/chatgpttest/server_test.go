package chatgpttest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// newAgentServer returns a server and the header of an agent that it knows.
func newAgentServer(t *testing.T, c Config) (*Server, []string) {
	t.Helper()
	s := newTestServer(t, c)
	key := addTestAgent(t, s, Account{}, "a", "t")
	return s, []string{"Authorization", assertion(key, "a", "t", s.time())}
}

func dial(t *testing.T, s *Server, url string, header []string) *websocket.Conn {
	t.Helper()
	h := make(http.Header)
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	// A WebSocket needs HTTP/1.1, which the shared client would not ask for.
	tr := s.Client().Transport.(*http.Transport).Clone()
	tr.ForceAttemptHTTP2 = false
	tr.TLSClientConfig.NextProtos = []string{"http/1.1"}
	conn, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: tr}, HTTPHeader: h, CompressionMode: websocket.CompressionContextTakeover,
	})
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(-1)
	t.Cleanup(func() { conn.CloseNow() })
	return conn
}

func TestProtocols(t *testing.T) {
	for _, h1 := range []bool{false, true} {
		s, auth := newAgentServer(t, Config{HTTP1Only: h1})
		resp := do(t, s, "GET", "https://gov.chatgpt.com/backend-api/test/echo?a=%zz;&b", nil, auth...)
		r := lastRequest(t, s)
		if resp.StatusCode != 200 || (resp.ProtoMajor == 1) != h1 || r.Proto != resp.Proto {
			t.Errorf("HTTP1Only %v: %d %s, recorded %s", h1, resp.StatusCode, resp.Proto, r.Proto)
		}
		if r.Host != "gov.chatgpt.com" || r.RequestURI != "/backend-api/test/echo?a=%zz;&b" || r.RawQuery != "a=%zz;&b" {
			t.Errorf("recorded %+v", r)
		}
	}
}

func TestCertificate(t *testing.T) {
	s := newTestServer(t, Config{})
	leaf, err := x509.ParseCertificate(s.http.TLSConfig.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for host, ok := range map[string]bool{
		"chatgpt.com": true, "a.chatgpt.com": true, "chat.openai.com": true, "auth.openai.com": true,
		"chatgpt-staging.com": true, "127.0.0.1": true, "localhost": true, "example.com": false, "a.b.chatgpt.com": false,
	} {
		if err := leaf.VerifyHostname(host); (err == nil) != ok {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestDate(t *testing.T) {
	at := time.Date(2026, 3, 23, 12, 0, 0, 0, time.UTC)
	s := newTestServer(t, Config{Now: func() time.Time { return at }})
	date := func() string { return do(t, s, "GET", s.URL()+"/healthz", nil).Header.Get("Date") }
	if got := date(); got != "Mon, 23 Mar 2026 12:00:00 GMT" {
		t.Errorf("Date: %s", got)
	}
	s.SetClockOffset(-time.Hour)
	if got := date(); got != "Mon, 23 Mar 2026 11:00:00 GMT" {
		t.Errorf("an hour behind: %s", got)
	}
	s.Inject(Fault{Times: 1, ClockOffset: 2 * time.Hour})
	if a, b := date(), date(); a != "Mon, 23 Mar 2026 13:00:00 GMT" || b != "Mon, 23 Mar 2026 11:00:00 GMT" {
		t.Errorf("with a fault: %s, then %s", a, b)
	}
}

// TestStreamPacing has the pieces of a stream come one by one: the first although
// the second comes after an hour, and the second no sooner than it may.
func TestStreamPacing(t *testing.T) {
	s, auth := newAgentServer(t, Config{})
	for _, kind := range []string{"sse", "ndjson", "chunked"} {
		for _, pause := range []time.Duration{time.Hour, 100 * time.Millisecond} {
			ctx, cancel := context.WithCancel(t.Context())
			req, _ := http.NewRequestWithContext(ctx, "GET", fmt.Sprintf("%s/test/%s?n=2&interval_ms=%d", backend, kind, pause.Milliseconds()), nil)
			req.Header.Set(auth[0], auth[1])
			start := time.Now()
			resp, err := s.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if pause == time.Hour {
				buf := make([]byte, 1000)
				if n, err := resp.Body.Read(buf); err != nil || n > 50 {
					t.Errorf("%s: first read: %q, %v", kind, buf[:n], err)
				}
			} else if _, err := io.ReadAll(resp.Body); err != nil || time.Since(start) < pause {
				t.Errorf("%s: the second came after %v, %v", kind, time.Since(start), err)
			}
			cancel()
			resp.Body.Close()
		}
	}
}

func TestEndpointsForTests(t *testing.T) {
	s, auth := newAgentServer(t, Config{})
	get := func(path string) answer { return do(t, s, "GET", backend+"/test/"+path, nil, auth...) }
	if got := string(get("sse?n=2").body); got != "id: 0\ndata: {\"i\":0}\n\nid: 1\ndata: {\"i\":1}\n\n" {
		t.Errorf("sse: %q", got)
	}
	if got := string(get("ndjson?n=2").body); got != "{\"i\":0}\n{\"i\":1}\n" {
		t.Errorf("ndjson: %q", got)
	}
	if r := get("bytes?n=70000"); len(r.body) != 70000 || r.ContentLength != 70000 {
		t.Errorf("bytes: %d, declared %d", len(r.body), r.ContentLength)
	}
	for status, want := range map[string]int{"204": 204, "304": 304, "404": 404, "599": 599, "600": 400, "x": 400} {
		if r := get("status/" + status); r.StatusCode != want {
			t.Errorf("status/%s: %d", status, r.StatusCode)
		}
	}
	body := bytes.Repeat([]byte("x"), 3<<20)
	sum := sha256.Sum256(body)
	for _, path := range []string{"upload", "expect", "echo", "trailers"} {
		r := do(t, s, "POST", backend+"/test/"+path, body, append(auth, "Expect", "100-continue")...)
		sent := string(r.body) + r.Trailer.Get("X-Body-Sha256")
		if r.StatusCode != 200 || !strings.Contains(sent, hex.EncodeToString(sum[:])) {
			t.Errorf("%s: %d %s", path, r.StatusCode, sent)
		}
		if rec := lastRequest(t, s); rec.BodyBytes != 3<<20 || rec.BodySHA256 != sum || len(rec.Body) != 1<<20 {
			t.Errorf("%s: recorded %d bytes, kept %d", path, rec.BodyBytes, len(rec.Body))
		}
	}
	if r := do(t, s, "POST", backend+"/test/trailers", nil, auth...); r.Trailer.Get("X-Unannounced") != "yes" {
		t.Errorf("trailers: %v", r.Trailer)
	}
	for _, path := range []string{"truncate", "truncate?chunked=1"} {
		req, _ := http.NewRequest("GET", backend+"/test/"+path, nil)
		req.Header.Set(auth[0], auth[1])
		resp, err := s.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(resp.Body); err == nil || len(b) != 1024 {
			t.Errorf("%s: %d bytes, %v", path, len(b), err)
		}
		resp.Body.Close()
	}
	if n := s.Count("*/test/truncate"); n != 2 {
		t.Errorf("Count = %d", n)
	}
	s.ResetRequests()
	if n := len(s.Requests()); n != 0 {
		t.Errorf("%d requests after ResetRequests", n)
	}
}

// TestCut has a client go away while it sends a body.
func TestCut(t *testing.T) {
	s, auth := newAgentServer(t, Config{})
	for _, cut := range []bool{false, true} {
		body, out := io.Pipe()
		req, _ := http.NewRequestWithContext(t.Context(), "POST", backend+"/test/upload", body)
		req.Header.Set(auth[0], auth[1])
		go func() {
			out.Write([]byte("half"))
			for s.Count("*") == 0 {
				time.Sleep(time.Millisecond)
			}
			if cut {
				out.CloseWithError(io.ErrUnexpectedEOF)
			}
			out.Close()
		}()
		if resp, err := s.Client().Do(req); err == nil {
			resp.Body.Close()
		}
		var r Request
		for !r.Done {
			time.Sleep(time.Millisecond)
			r = lastRequest(t, s)
		}
		if r.Cut != cut {
			t.Errorf("cut off: %t, recorded as %t", cut, r.Cut)
		}
		s.ResetRequests()
	}
}

func TestWebSocketEcho(t *testing.T) {
	s, auth := newAgentServer(t, Config{})
	conn := dial(t, s, backend+"/test/ws-echo", auth)
	for _, n := range []int{0, 1, 1 << 20} {
		msg := bytes.Repeat([]byte{'m'}, n)
		if err := conn.Write(t.Context(), websocket.MessageBinary, msg); err != nil {
			t.Fatal(err)
		}
		if _, got, err := conn.Read(t.Context()); err != nil || !bytes.Equal(got, msg) {
			t.Fatalf("%d bytes: %d came back, %v", n, len(got), err)
		}
	}
}

// TestClose has streams, WebSockets, slow answers and idle connections end with
// the server, and nothing left of it.
func TestClose(t *testing.T) {
	before := runtime.NumGoroutine()
	s := NewServer()
	s.Close()
	s = NewUnstartedServer()
	s.Config.HTTP1Only = true
	s.Start()
	key := addTestAgent(t, s, Account{}, "a", "t")
	auth := []string{"Authorization", assertion(key, "a", "t", time.Now())}
	s.Inject(Fault{Path: "*/slow", Delay: time.Hour})
	do(t, s, "GET", echoURL, nil, auth...)
	conn := dial(t, s, backend+"/test/ws-echo", auth)
	var clients sync.WaitGroup
	for _, path := range []string{"/test/sse?n=2&interval_ms=3600000", "/slow"} {
		req, _ := http.NewRequest("GET", backend+path, nil)
		req.Header.Set(auth[0], auth[1])
		clients.Go(func() {
			if resp, err := s.Client().Do(req); err == nil {
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
	for s.Count("*") < 4 {
		time.Sleep(time.Millisecond)
	}
	s.Close()
	s.Close()
	clients.Wait()
	conn.CloseNow()
	for end := time.Now().Add(time.Minute); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}
