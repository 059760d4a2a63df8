package chatgpttest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func TestFaultStatus(t *testing.T) {
	s, auth := newAgentServer(t, Config{})
	s.Inject(Fault{Path: "*/test/e*", Times: 2, Status: 401})
	clear := s.Inject(Fault{Match: func(r *http.Request) bool { return r.Method == "PUT" }, Status: 503, Body: "busy", Header: http.Header{"Retry-After": {"1"}}})
	get := func(method, path string) answer { return do(t, s, method, backend+path, []byte("x"), auth...) }
	for i, want := range []int{401, 401, 200} {
		if r := get("POST", "/test/echo"); r.StatusCode != want {
			t.Errorf("request %d: %d, want %d", i, r.StatusCode, want)
		}
		// The credential is judged whatever is answered.
		if r := lastRequest(t, s); !r.Auth.OK || r.Status != want || r.BodyBytes != 1 {
			t.Errorf("request %d: recorded %+v", i, r)
		}
	}
	if r := get("PUT", "/test/echo"); r.StatusCode != 503 || string(r.body) != "busy" || r.Header.Get("Retry-After") != "1" {
		t.Errorf("%d %s %v", r.StatusCode, r.body, r.Header)
	}
	clear()
	clear()
	if r := get("PUT", "/test/echo"); r.StatusCode != 200 {
		t.Errorf("cleared: %d", r.StatusCode)
	}
}

func TestFaultConnections(t *testing.T) {
	for _, h1 := range []bool{true, false} {
		s, auth := newAgentServer(t, Config{HTTP1Only: h1})
		get := func(ctx context.Context) (int, error) {
			req, _ := http.NewRequestWithContext(ctx, "GET", backend+"/test/bytes?n=1000", nil)
			req.Header.Set(auth[0], auth[1])
			resp, err := s.Client().Do(req)
			if err != nil {
				return 0, err
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			return len(b), err
		}
		s.Inject(Fault{Times: 1, DropAfter: 100})
		if n, err := get(t.Context()); n != 100 || err == nil {
			t.Errorf("h1 %v: dropped after 100: %d bytes, %v", h1, n, err)
		}
		clear := s.Inject(Fault{Reset: true})
		if n, err := get(t.Context()); n != 0 || err == nil {
			t.Errorf("h1 %v: reset: %d bytes, %v", h1, n, err)
		}
		clear()
		ctx, cancel := context.WithCancel(t.Context())
		s.Inject(Fault{Times: 1, Delay: time.Hour, Match: func(*http.Request) bool { cancel(); return true }})
		if _, err := get(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("h1 %v: slow: %v", h1, err)
		}
		if n, err := get(t.Context()); n != 1000 || err != nil {
			t.Errorf("h1 %v: afterwards: %d bytes, %v", h1, n, err)
		}
	}
}

func TestFaultWebSocket(t *testing.T) {
	s, auth := newAgentServer(t, Config{})
	s.Inject(Fault{Times: 1, DropAfter: 1000})
	conn := dial(t, s, backend+"/test/ws-echo", auth)
	var got int
	for {
		// Binary zeros would be compressed away.
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(auth[1])[:100]); err != nil {
			break
		}
		_, b, err := conn.Read(t.Context())
		if err != nil {
			break
		}
		got += len(b)
	}
	if got == 0 || got > 1000 {
		t.Errorf("%d bytes before the drop", got)
	}
}

func TestGlob(t *testing.T) {
	tests := []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "/a/b", true}, {"/a", "/a", true}, {"/a", "/ab", false},
		{"*/b", "/a/b", true}, {"*/b", "/a/b/c", false}, {"/a*c", "/a/b/c", true}, {"*a*b*", "xaxbx", true}, {"*a*b*", "xbxax", false},
	}
	for _, tt := range tests {
		if got := matchGlob(tt.pattern, tt.s); got != tt.want {
			t.Errorf("matchGlob(%q, %q) = %v", tt.pattern, tt.s, got)
		}
	}
}
