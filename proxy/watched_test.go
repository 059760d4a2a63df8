package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// TestWatched has an exchange of each kind under way, and looks at what the
// proxy tells of them while they are and when they have ended.
func TestWatched(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	backend := proxytest.NewBackend(t, proxytest.H1, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/socket":
			echoWebSocket(t, w, r)
		case "/stream":
			_, _ = io.WriteString(w, "begun")
			_ = http.NewResponseController(w).Flush()
			<-release
		case "/renew":
			if strings.HasSuffix(r.Header.Get("Authorization"), proxytest.AccessToken) {
				w.WriteHeader(http.StatusUnauthorized)
			}
		}
	})
	echo := proxytest.NewRawServer(t, func(c net.Conn) { _, _ = io.Copy(c, c) })
	var mu sync.Mutex
	var got []Outcome
	p := startProxy(t, backend.Listener.Addr().String(), func(c *Config) {
		c.Clients.Token = "token"
		c.Upstream.ConnectTo["tunnel.example:7"] = echo
		c.OtherHosts = OtherHosts{Refuse: true, Only: patterns(t, "tunnel.example:7")}
		c.Signer = renewing{}
		c.Observe = func(o Outcome) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, o)
		}
	})
	c := p.clientAs(t, proxytest.H1, url.UserPassword("build-42", "token"))
	stream := proxytest.Get(t, c, "https://files.chatgpt.com/stream")
	buffer := make([]byte, len("begun"))
	if _, err := io.ReadFull(stream.Body, buffer); err != nil {
		t.Fatal(err)
	}
	plainClient := *c
	plainClient.Timeout = 0 // websocket.Dial wants none
	socket, _, err := websocket.Dial(t.Context(), "wss://"+proxytest.Host+"/socket", &websocket.DialOptions{HTTPClient: &plainClient})
	if err != nil {
		t.Fatal(err)
	}
	if err := socket.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := socket.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	tunnel := p.dial(t)
	tunnel.Send(t, "CONNECT tunnel.example:7 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic %s\r\n\r\n", proxytest.BasicAuth("build-7", "token"))
	tunnel.Response(t, http.MethodConnect)
	tunnel.Send(t, "ping")
	tunnel.Expect(t, "ping")

	running := p.Running(10)
	for i, r := range running {
		if r.Started.IsZero() || r.Kind == KindTunnel && r.Bytes != (Bytes{}) {
			t.Errorf("%+v", r)
		}
		running[i].Started, running[i].Bytes = time.Time{}, Bytes{}
	}
	want := []Running{
		{Kind: KindTunnel, Client: "build-7", Host: "tunnel.example:7", Method: "CONNECT"},
		{Kind: KindWebSocket, Client: "build-42", Host: "chatgpt.com:443", Method: "GET", Path: "/socket"},
		{Kind: KindRequest, Client: "build-42", Host: "files.chatgpt.com:443", Method: "GET", Path: "/stream"},
	}
	if diff := cmp.Diff(want, running); diff != "" {
		t.Errorf("running (-want +got):\n%s", diff)
	}
	if some := p.Running(1); len(some) != 1 {
		t.Errorf("%d are listed, want no more than 1", len(some))
	}
	var before Traffic
	proxytest.Eventually(t, func() error { // what was read is counted when it was written
		before = p.Traffic()
		if b := before.Bytes[KindRequest]; b.Sent < int64(len("begun")+len("hello")) || b.Received < int64(len("hello")) {
			return fmt.Errorf("the bytes of what is under way: %+v", b)
		}
		return nil
	})
	if diff := cmp.Diff(map[string]int{KindRequest: 1, KindWebSocket: 1, KindTunnel: 1, KindPlain: 0}, before.Running); diff != "" {
		t.Errorf("running by kind (-want +got):\n%s", diff)
	}

	close(release)
	proxytest.ReadAll(t, stream.Body)
	_ = socket.CloseNow()
	closeWriteOf(t, tunnel.Conn)
	tunnel.ExpectEOF(t)
	proxytest.ReadAll(t, proxytest.Get(t, c, proxytest.Origin+"/renew").Body)
	proxytest.ReadAll(t, proxytest.Get(t, c, "http://chatgpt.com/").Body)
	proxytest.ReadAll(t, proxytest.Get(t, p.clientAs(t, proxytest.H1, url.UserPassword("x", "wrong")), "http://other.example/").Body)
	proxytest.Eventually(t, func() error {
		for kind, n := range p.Traffic().Running {
			if n != 0 {
				return fmt.Errorf("%d of kind %s are still listed", n, kind)
			}
		}
		return nil
	})
	p.cutNow()
	after := p.Traffic()
	if after.Bytes[KindTunnel] != (Bytes{4, 4}) {
		t.Errorf("the tunnel's bytes: %+v", after.Bytes[KindTunnel])
	}
	for kind, b := range before.Bytes {
		if a := after.Bytes[kind]; a.Received < b.Received || a.Sent < b.Sent {
			t.Errorf("the count of bytes of kind %s went back from %+v to %+v", kind, b, a)
		}
	}

	mu.Lock()
	defer mu.Unlock()
	got = slices.DeleteFunc(got, func(o Outcome) bool { return o.Kind == KindConnect && o.Status == 200 && o.Pattern != "" })
	for _, o := range got {
		if o.Kind == KindRequest && (o.FirstByte <= 0 || o.FirstByte > o.Duration) {
			t.Errorf("%s to the first byte of %s", o.FirstByte, o.Duration)
		}
	}
	request := Outcome{Kind: KindRequest, Client: "build-42", Host: "chatgpt.com:443", Method: "GET", Logged: true, Pattern: "chatgpt.com:443", Status: 200, Scheme: "Bearer"}
	streamed, upgraded, renewed := request, request, request
	streamed.Host, streamed.Pattern, streamed.Path = "files.chatgpt.com:443", "*.chatgpt.com:443", "/stream"
	upgraded.Status, upgraded.Path = 101, "/socket"
	renewed.Resent, renewed.Signer, renewed.Path = true, "bearer", "/renew"
	wantOutcomes := []Outcome{
		streamed, upgraded, renewed,
		{Kind: KindTunnel, Client: "build-7", Host: "tunnel.example:7", Method: "CONNECT", Logged: true, Status: 200},
		{Kind: KindPlain, Client: "build-42", Host: "chatgpt.com:80", Method: "GET", Path: "/", Logged: true, Status: 403, Refused: "plain_http_refused"},
		{Kind: KindPlain, Method: "GET", Logged: true, Status: 407, Refused: "proxy_auth_required"},
	}
	rest := cmpopts.IgnoreFields(Outcome{}, "Time", "FirstByte", "Duration", "Reason", "Failure")
	inOrder := cmpopts.SortSlices(func(a, b Outcome) bool {
		return fmt.Sprint(a.Kind, a.Status, a.Signer, a.Host) < fmt.Sprint(b.Kind, b.Status, b.Signer, b.Host)
	})
	if diff := cmp.Diff(wantOutcomes, got, rest, inOrder); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
}

// TestTurnedAwayIsObserved counts whom no place was left for.
func TestTurnedAwayIsObserved(t *testing.T) {
	t.Parallel()
	outcomes := make(chan Outcome, 10)
	p := startProxy(t, "", func(c *Config) {
		c.Limits.Connections = 1
		c.Observe = func(o Outcome) { outcomes <- o }
	})
	p.dial(t).Send(t, "C") // it takes the only place
	proxytest.Eventually(t, func() error {
		if p.places.all.InUse() == 0 {
			return fmt.Errorf("the first is not accepted yet")
		}
		return nil
	})
	p.dial(t)
	select {
	case o := <-outcomes:
		if o.Kind != KindConnection || o.Refused != "too_many_connections" || o.Status != http.StatusServiceUnavailable || o.Reason == "" {
			t.Errorf("%+v", o)
		}
	case <-time.After(proxytest.Patience):
		t.Fatal("nothing is told")
	}
}
