package proxy

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/agentproxy/agentproxy/proxy/access/ratelimit"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// TestRequestsPerMinute counts each kind of request, and refuses one too many with a 429
// that is no server's. Another label is served.
func TestRequestsPerMinute(t *testing.T) {
	t.Parallel()
	proxytest.EachProto(t, func(t *testing.T, proto string) {
		backend, reached := countingBackend(t)
		outcomes := make(chan Outcome, 1000)
		log := new(auditLog)
		p := newProxy(t, backend, log.use, func(c *Config) {
			c.Upstream.ConnectTo["tunnel.example:7"] = proxytest.NewRawServer(t, func(c net.Conn) { _, _ = io.Copy(c, c) })
			c.Rates = ratelimit.Rules{PerLabel: ratelimit.Limits{RequestsPerMinute: 3}}
			c.Observe = func(o Outcome) { outcomes <- o }
		})
		at := time.Now() // for good, however slow the machine is
		p.current().rates = ratelimit.New(func() time.Time { return at })
		p.serve(t)
		c := p.clientAs(t, proto, url.UserPassword("busy", ""))
		for range 2 {
			if res := proxytest.Get(t, c, proxytest.Origin+"/"); res.StatusCode != http.StatusNoContent && res.StatusCode != http.StatusOK {
				t.Fatal(res.Status)
			}
		}
		if _, res := p.connectAs(t, "busy", "tunnel.example:7"); res.StatusCode != http.StatusOK {
			t.Fatalf("a tunnel: %s", res.Status)
		}
		before := reached.Load()
		for range 20 {
			res := proxytest.Get(t, c, proxytest.Origin+"/")
			message := proxytest.WantRefusal(t, res, http.StatusTooManyRequests, "too_many_requests", "http_request_denied")
			if after, err := strconv.Atoi(res.Header.Get("Retry-After")); err != nil || after < 1 || after > 61 || !strings.Contains(message, "requests_per_minute") {
				t.Errorf("Retry-After %d, %v: %s", after, err, message)
			}
		}
		_, res := p.connectAs(t, "busy", "tunnel.example:7")
		proxytest.WantRefusal(t, res, http.StatusTooManyRequests, "too_many_requests", "http_request_denied")
		if got := p.Authorize(t.Context(), Ask{Label: "busy", Host: proxytest.Host, Method: "GET", URI: "/"}); got.Code != "too_many_requests" || got.Header.Get("Retry-After") == "" {
			t.Errorf("for a gateway: %+v", got)
		}
		if reached.Load() != before {
			t.Error("a refused request reached the server")
		}
		if res := proxytest.Get(t, p.clientAs(t, proto, url.UserPassword("calm", "")), proxytest.Origin+"/"); res.StatusCode >= 300 {
			t.Errorf("another label: %s", res.Status)
		}
		// A CONNECT to an intercepted host is none: what is inside counts.
		for range 5 {
			if _, res := p.connectAs(t, "busy", proxytest.Host+":443"); res.StatusCode != http.StatusOK {
				t.Errorf("CONNECT: %s", res.Status)
			}
		}
		// More may come when the limit is raised, and what was counted still counts.
		p.reconfigure(func(c *Config) { c.Rates.PerLabel.RequestsPerMinute = 4 })
		if res := proxytest.Get(t, c, proxytest.Origin+"/"); res.StatusCode >= 300 {
			t.Errorf("after the limit was raised: %s", res.Status)
		}
		if res := proxytest.Get(t, c, proxytest.Origin+"/"); res.StatusCode != http.StatusTooManyRequests {
			t.Errorf("one more: %s", res.Status)
		}
		// All are counted, and few are written down.
		p.cutNow()
		refused := 0
		for close(outcomes); ; {
			o, ok := <-outcomes
			if !ok {
				break
			}
			if o.Refused == "too_many_requests" && o.Status == http.StatusTooManyRequests {
				refused++
			}
		}
		if refused != 23 {
			t.Errorf("%d refusals were counted, want 23", refused)
		}
		lines := strings.Count(p.log.String(), `"refused":"too_many_requests"`)
		if lines > 12 || !strings.Contains(p.log.String(), `"message":"more requests of a client that is over its limit"`) || strings.Contains(p.log.String(), "not let in") {
			t.Errorf("%d lines in the log:\n%s", lines, p.log.String())
		}
		times := 0
		for _, d := range log.take() {
			if d.Refused == "too_many_requests" && d.Client == "busy" {
				times += max(1, d.Times)
			}
		}
		if times != 23 {
			t.Errorf("the audit log has %d refusals, want 23", times)
		}
	})
}

// TestStreamsAtATime counts answers of the model and WebSockets while they run, and no
// other requests.
func TestStreamsAtATime(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	backend := proxytest.NewBackend(t, proxytest.H1, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Upgrade") != "":
			echoWebSocket(t, w, r)
		case strings.HasSuffix(r.URL.Path, "/responses"):
			_ = http.NewResponseController(w).Flush()
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
	})
	p := startProxy(t, backend.Listener.Addr().String(), func(c *Config) {
		c.Profiles = []Profile{{Name: "builds", Labels: labels(t, "*"), Signer: c.Signer, OtherHosts: c.OtherHosts, ConnectionsPerLabel: 100,
			Rates: ratelimit.Rules{PerLabel: ratelimit.Limits{Streams: 2}, Total: ratelimit.Limits{Streams: 3}}}}
	})
	const responses = proxytest.Origin + "/backend-api/codex/responses"
	client := func(label string) *http.Client {
		c := p.clientAs(t, proxytest.H1, url.UserPassword(label, ""))
		c.Timeout = 0
		return c
	}
	dial := func(label string) (*websocket.Conn, *http.Response) {
		ctx, cancel := context.WithTimeout(context.Background(), proxytest.Patience)
		t.Cleanup(cancel)
		conn, res, err := websocket.Dial(ctx, strings.Replace(responses, "https:", "wss:", 1), &websocket.DialOptions{HTTPClient: client(label)})
		if err == nil {
			t.Cleanup(func() { _ = conn.CloseNow() })
		}
		return conn, res
	}
	post := func(label string) *http.Response {
		return proxytest.Do(t, client(label), proxytest.NewRequest(t, http.MethodPost, responses, strings.NewReader("{}")))
	}
	if res := post("a"); res.StatusCode != http.StatusOK {
		t.Fatal(res.Status)
	}
	conn, res := dial("a")
	if conn == nil {
		t.Fatalf("%+v", res)
	}
	refused := post("a")
	message := proxytest.WantRefusal(t, refused, http.StatusTooManyRequests, "too_many_streams", "http_request_denied")
	if refused.Header.Get("Retry-After") != "5" || !strings.Contains(message, `"a"`) {
		t.Errorf("%s: %s", refused.Header.Get("Retry-After"), message)
	}
	if conn, res := dial("a"); conn != nil || res == nil || res.StatusCode != http.StatusTooManyRequests {
		t.Errorf("one WebSocket too many: %+v", res)
	}
	for range 5 { // what is no stream
		if res := proxytest.Get(t, client("a"), proxytest.Origin+"/backend-api/codex/models"); res.StatusCode != http.StatusOK {
			t.Errorf("a short request: %s", res.Status)
		}
	}
	if res := post("b"); res.StatusCode != http.StatusOK {
		t.Errorf("another label: %s", res.Status)
	}
	if message := proxytest.WantRefusal(t, post("c"), http.StatusTooManyRequests, "too_many_streams", "http_request_denied"); !strings.Contains(message, "total_streams") || !strings.Contains(message, "profile builds") {
		t.Error(message)
	}
	// The place of one that ends is free.
	_ = conn.Close(websocket.StatusNormalClosure, "")
	proxytest.Eventually(t, func() error {
		_, refused := p.current().rates.Stream(ratelimit.Client{Label: "probe", Profile: "builds"}, &ratelimit.Rules{Total: ratelimit.Limits{Streams: 3}})
		if refused != nil {
			return refused
		}
		return nil
	})
	close(release)
}
