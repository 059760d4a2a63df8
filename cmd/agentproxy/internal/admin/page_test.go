package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/history"
	"github.com/agentproxy/agentproxy/proxy"
	"github.com/agentproxy/agentproxy/signer"
)

var statusTime = time.Date(2026, 4, 15, 12, 0, 0, 0, time.UTC)

// page returns what the page makes of a status.
func page(t *testing.T, s Status, target string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	mux := http.NewServeMux()
	newStatusPage(func(context.Context) Status { return s }).add(mux)
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w
}

func goodStatus() Status {
	expiry := statusTime.Add(9 * 24 * time.Hour)
	return Status{
		At: statusTime, Started: statusTime.Add(-3 * time.Hour), Version: "v1.0.0", Ready: true,
		Agents: []agentStatus{{
			Ready: true, Scheme: "AgentAssertion", As: "agent a of workspace w", Task: "task-1", TokenExpires: &expiry,
		}},
		CAExpires: statusTime.AddDate(10, 0, 0), CAFingerprint: "01:23",
		InFlight: map[string]int{proxy.KindRequest: 1, proxy.KindTunnel: 4, proxy.KindPlain: 0, proxy.KindWebSocket: 1},
		Bytes:    map[string]proxy.Bytes{proxy.KindRequest: {Received: 1500, Sent: 2_000_000}, proxy.KindTunnel: {Sent: 1}},
		Live: []proxy.Running{
			{Kind: proxy.KindRequest, Client: "build-42", Host: "chatgpt.com:443", Method: "POST", Path: "/backend-api/codex/responses", Started: statusTime.Add(-90 * time.Second), Bytes: proxy.Bytes{Sent: 1234}},
			{Kind: proxy.KindTunnel, Host: "github.com:443", Method: "CONNECT", Started: statusTime.Add(-5 * time.Minute)},
		},
		Requests: []history.Request{
			{Ended: statusTime.Add(-3 * time.Second), Kind: proxy.KindRequest, Method: "GET", Host: "chatgpt.com:443", Path: "/backend-api/codex/models", Status: 200, Seconds: .031, Scheme: "AgentAssertion", Client: "run"},
			{Ended: statusTime.Add(-time.Minute), Kind: proxy.KindTunnel, Method: "CONNECT", Host: "a.example:443", Status: 403, Refused: "host_refused"},
			{Ended: statusTime.Add(-time.Hour), Kind: proxy.KindRequest, Method: "GET", Host: "chatgpt.com:443", Path: "/backend-api/x", Seconds: 61, Scheme: "Bearer", Failure: "the client went away"},
		},
		Rates:    history.Rates{SpanSeconds: 10, Requests: history.Series{0, 7, 12, 1}, Failed: history.Series{0, 0, 2, 0}, FirstByte: history.Series{0, 20, 40, 31}},
		Refusals: []Refusal{{Last: statusTime.Add(-time.Minute), Count: 3, Code: "host_refused", Reason: "list it in other_hosts", Host: "a.example:443"}},
	}
}

// TestStatusPage looks for what the page is to say of each state.
func TestStatusPage(t *testing.T) {
	t.Parallel()
	good := goodStatus()
	with := func(edit func(*Status)) Status {
		s := goodStatus()
		edit(&s)
		return s
	}
	past := statusTime.Add(-time.Second)
	bad := with(func(s *Status) {
		s.Ready, s.Agents[0] = false, agentStatus{Code: "no_login", Message: "run codex login"}
	})
	ended := with(func(s *Status) { s.Agents[0].LoginEnded = "auth.json: the log-in has ended; run codex login" })
	expired := with(func(s *Status) { s.Agents[0].TokenExpires, s.CAExpires = &past, statusTime.Add(40*time.Hour) })
	overdue := with(func(s *Status) { s.Agents[0].TaskOverdue = "the backend answered 500" })
	skewed := with(func(s *Status) { s.ClockOffset = -200 })
	idle := with(func(s *Status) {
		s.Live, s.InFlight, s.Refusals, s.Requests, s.Agents[0].TokenExpires, s.Agents[0].Task = nil, nil, nil, nil, nil, ""
	})
	busy := with(func(s *Status) { s.Requests = slices.Repeat(s.Requests[:1], maxShownRequests+5) })
	several := with(func(s *Status) {
		s.Agents = append(s.Agents, agentStatus{Profile: "ci", Code: "no_login", Message: "run codex login"},
			agentStatus{Profile: "review", Ready: true, Scheme: "Bearer", As: "the log-in of workspace r", TokenExpires: &past},
			agentStatus{Profile: "late", Ready: true, Task: "task-2", TaskOverdue: "the backend answered 500"})
	})
	for name, test := range map[string]struct {
		status Status
		want   []string
	}{
		"good": {good, []string{
			"<title>✓ signing – agentproxy</title>", `href="/icon-good.svg"`, "Signing <span class=\"scheme\">AgentAssertion", "as agent a of workspace w", "task-1", "up 3 hours",
			"9 days left", "10 years left", "no difference", "2.0 MB", "1.5 kB from them", "1 request, 1 WebSocket, 4 tunnels", "build-42", "90 s",
			"1.2 kB", "5 min", "and 4 more", "host_refused", "×3", "list it in other_hosts", "60 s ago", "/?paused",
			"<b>POST</b> <bdi>chatgpt.com/backend-api/codex/responses</bdi>", "<b>CONNECT</b> <bdi>github.com</bdi>",
			"<b>GET</b> <bdi>chatgpt.com/backend-api/codex/models</bdi>", ">31 ms<", ">assertion<", ">3 s ago<", "<b>CONNECT</b> <bdi>a.example</bdi>",
			"bad\">403<small><code>host_refused</code>", "<small>tunnel</small>", "bad\">–<small>cut: the client went away</small>", ">61 s<", ">bearer<", "<bdi>–</bdi>",
			"<dd>20<small>in 0 min, 12 at most in 10 s</small><svg", "class=\"warn\"><dt>Refused or failed</dt> <dd>2<small>", "<dd>31 ms<small>40 ms at most", "d=\"M0 21v-1h4v1z",
		}},
		"bad":     {bad, []string{"<title>✗ cannot sign – agentproxy</title>", `href="/icon-bad.svg"`, "Cannot sign <span class=\"scheme\">no_login", "run codex login"}},
		"ended":   {ended, []string{"<title>! log in again – agentproxy</title>", `href="/icon-warn.svg"`, "log in again", "the log-in has ended; run codex login"}},
		"expired": {expired, []string{"<title>! the CA expires soon –", "it is refreshed when it is needed", "<div class=\"bad\"><dt>Certificate authority", "40 hours left"}},
		"overdue": {overdue, []string{"Signing <span class=\"scheme\">AgentAssertion", "task-1", "The task is due to be replaced: the backend answered 500"}},
		"skewed":  {skewed, []string{"3 min ahead", "time stamps are corrected, but set it"}},
		"several": {several, []string{
			"<title>! 1 of 4 agents cannot sign – agentproxy</title>",
			"Signing <span class=\"scheme\">3 of 4 agents", "<th scope=\"row\">–</th>", "<th scope=\"row\">ci</th>", "no_login", "run codex login",
			"the log-in of workspace r", "9 days left", "it is refreshed when it is needed", "due to be replaced: the backend answered 500",
		}},
		"idle": {idle, []string{"Nothing at the moment.", "Nothing since it started.", "None since it started.", "<dd>none</dd>"}},
		"busy": {busy, []string{"and 5 more; <a href=\"/?paused\">pause</a> to see them"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := page(t, test.status, "/")
			text := strings.Join(strings.Fields(w.Body.String()), " ")
			for _, want := range test.want {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in the page:\n%s", want, w.Body)
				}
			}
			if w.Header().Get("Refresh") != "5" {
				t.Error("it is not renewed")
			}
		})
	}
	if w := page(t, good, "/?paused"); w.Header().Get("Refresh") != "" || !strings.Contains(w.Body.String(), "resume") {
		t.Error("it cannot be paused")
	}
	if w := page(t, busy, "/?paused"); strings.Count(w.Body.String(), "<bdi>chatgpt.com/backend-api/codex/models</bdi>") != len(busy.Requests) {
		t.Error("a page that is paused does not show all requests")
	}
}

// TestIcons has an icon for each state, and no script in any.
func TestIcons(t *testing.T) {
	t.Parallel()
	for _, state := range []string{stateGood, stateWarn, stateBad} {
		w := page(t, goodStatus(), "/icon-"+state+".svg")
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "image/svg+xml" || !strings.HasPrefix(w.Body.String(), "<svg ") || strings.Contains(w.Body.String(), "script") {
			t.Errorf("%s: %d %v %s", state, w.Code, w.Header(), w.Body)
		}
	}
}

// TestAttention has the title name what is to be done, the most urgent first.
func TestAttention(t *testing.T) {
	t.Parallel()
	used := &quota{Primary: &quotaWindow{UsedPercent: 100}}
	var s Status
	for _, test := range []struct {
		change func()
		want   string
	}{
		{func() { s = goodStatus() }, ""},
		{func() { s.CAExpires = statusTime.Add(time.Hour) }, "the CA expires soon"},
		{func() { s.Agents[0].Quota = used }, "allowance used up"},
		{func() { s.ClockExcess = 900 }, "wrong clock"},
		{func() { s.Agents[0].LoginEnded = "run codex login" }, "log in again"},
		{func() { s.Agents = append(s.Agents, agentStatus{}) }, "1 of 2 agents cannot sign"},
		{func() { s.Ready = false }, ""}, // which the state says
	} {
		test.change()
		if got := s.Attention(); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
	if s.State() != stateBad {
		t.Error(s.State())
	}
}

// TestStatusPageEscapes has clients choose labels and hosts that are markup, and
// wants no script to be run should any get through.
func TestStatusPageEscapes(t *testing.T) {
	t.Parallel()
	const markup = `"><script>alert(1)</script><img src=x onerror=alert(2)>{{.}}`
	for _, agents := range []int{1, 2} {
		checkEscapes(t, markup, agents)
	}
}

func checkEscapes(t *testing.T, markup string, agents int) {
	t.Helper()
	s := goodStatus()
	s.Version = markup
	s.Agents[0].As, s.Agents[0].Task = markup, markup
	s.Agents = append(s.Agents, agentStatus{Profile: markup, As: markup, Message: markup, Code: signer.Code(markup), LoginEnded: markup})[:agents]
	s.Live[0].Client, s.Live[0].Host, s.Live[0].Kind = markup, markup, markup
	s.Live[0].Method, s.Live[0].Path = markup, markup
	s.Requests = []history.Request{{Kind: markup, Method: markup, Host: markup, Path: markup, Client: markup, Refused: markup, Failure: markup, Scheme: signer.Scheme(markup)}}
	s.Refusals = []Refusal{{Code: markup, Reason: markup, Client: markup, Host: markup, Count: 1}}
	for _, path := range []string{"/", "/?paused", "/status.json"} {
		w := page(t, s, path)
		for _, tag := range []string{"<script", "<img", `""`} {
			if strings.Contains(w.Body.String(), tag) {
				t.Errorf("%s has %s:\n%s", path, tag, w.Body)
			}
		}
	}
	for _, path := range []string{"/", "/status.json", "/style.css", "/icon-bad.svg"} {
		h := page(t, s, path).Header()
		if csp := h.Get("Content-Security-Policy"); csp != "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'" {
			t.Errorf("%s: the policy is %q", path, csp)
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", path, h)
		}
	}
}

// TestStatusJSON has programs read what the page shows.
func TestStatusJSON(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ path, accept, kind string }{
		{"/", "", "text/html; charset=utf-8"},
		{"/", "text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"},
		{"/", "application/json", "application/json"},
		{"/status.json", "text/html", "application/json"},
	} {
		w := page(t, goodStatus(), test.path, "Accept", test.accept)
		if got := w.Header().Get("Content-Type"); got != test.kind {
			t.Errorf("%s for %q: %s, want %s", test.path, test.accept, got, test.kind)
		}
		if test.kind != "application/json" {
			continue
		}
		var got Status
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(goodStatus(), got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// TestRefusals bounds what is remembered, however much is refused.
func TestRefusals(t *testing.T) {
	t.Parallel()
	rs := NewRefusals()
	rs.Exchange(proxy.Outcome{Refused: "first", Host: "a.example:1"})
	for i := range 1000 {
		rs.Exchange(proxy.Outcome{Refused: "host_refused", Host: strings.Repeat("é", i) + ".example:1", Reason: strings.Repeat("x", 100_000), Time: statusTime.Add(time.Duration(i))})
	}
	for range 3 {
		rs.Exchange(proxy.Outcome{Refused: "no_login", Client: "build-42", Reason: "run codex login"})
	}
	rs.Exchange(proxy.Outcome{Refused: "no_login", Client: "build-43"})
	list := rs.Latest()
	if len(list) != maxRefusals || list[0].Client != "build-43" || list[1].Count != 3 || list[1].Reason != "run codex login" || list[2].Last.Before(list[3].Last) {
		t.Errorf("%d: %+v", len(list), list[:4])
	}
	for _, r := range list {
		if len(r.Reason) > maxShown+len("…") || len(r.Host) > maxShown+len("…") || strings.ContainsRune(r.Host, '\uFFFD') {
			t.Errorf("%d bytes of reason, %d of host: %q", len(r.Reason), len(r.Host), r.Host)
		}
	}
}
