package top

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/admin"
)

// answer is what a proxy says of itself. A label controls a terminal, a path turns text
// around.
const answer = `{
	"at": "2026-04-15T12:00:00Z", "version": "v1.0.0", "started": "2026-04-15T09:00:00Z", "ready": true,
	"agents": [
		{"ready": true, "scheme": "AgentAssertion", "as": "agent a of workspace w", "task": "task-1", "token_expires": "2026-04-24T12:00:00Z",
			"quota": {"primary": {"used_percent": 12, "window_minutes": 300}, "secondary": {"used_percent": 100, "window_minutes": 10080}}},
		{"profile": "ci", "code": "no_login", "message": "run codex login"},
		{"profile": "old", "ready": true, "scheme": "Bearer", "token_expires": "2026-04-15T11:59:59Z"},
		{"profile": "ended", "login_ended": "run codex login"},
		{"profile": "late", "ready": true, "scheme": "AgentAssertion", "task": "task-2", "task_overdue": "the backend answered 500"}
	],
	"ca_expires": "2036-04-15T12:00:00Z", "clock_offset_seconds": 200,
	"in_flight": {"request": 1, "websocket": 1, "tunnel": 4, "plain": 0},
	"bytes": {"request": {"received": 1500, "sent": 2000000}, "tunnel": {"received": 0, "sent": 1}},
	"rates": {"span_seconds": 10, "requests": [0, 7, 12, 1], "failed": [0, 0, 2, 0], "first_byte_ms": [0, 20, 40, 31]},
	"live": [
		{"kind": "request", "client": "\u001b]0;title\u0007\u202eevil", "host": "chatgpt.com:443", "method": "POST", "path": "/backend-api/codex/responses", "started": "2026-04-15T11:58:30Z", "received": 0, "sent": 1234},
		{"kind": "tunnel", "host": "github.com:443", "method": "CONNECT", "started": "2026-04-15T11:55:00Z"}
	],
	"requests": [
		{"ended": "2026-04-15T11:59:57Z", "kind": "request", "method": "GET", "host": "chatgpt.com:443", "path": "/backend-api/\u202e\u009b2J", "status": 200, "seconds": 0.031, "credential": "AgentAssertion", "client": "run"},
		{"ended": "2026-04-15T11:59:50Z", "kind": "tunnel", "method": "CONNECT", "host": "a.example:443", "status": 403, "seconds": 0, "refused": "host_refused"},
		{"ended": "2026-04-15T11:59:00Z", "kind": "plain", "method": "GET", "host": "b.example:80", "path": "/x", "status": 0, "seconds": 61, "failure": "the client went away"}
	],
	"out_of_scope": [{"last": "2026-04-15T11:00:00Z", "count": 2, "host": "chatgpt.com:443", "method": "GET", "path": "/backend-api/me", "reason": "path", "client": "run", "sent": true, "allow": "{host: chatgpt.com, methods: [GET], path: /backend-api/me}"}],
	"refusals": [{"last": "2026-04-15T11:59:00Z", "count": 3, "code": "host_refused", "reason": "list it in other_hosts", "host": "a.example:443"}]
}`

func status(t *testing.T) (s admin.Status) {
	t.Helper()
	if err := json.Unmarshal([]byte(answer), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTopText(t *testing.T) {
	t.Parallel()
	const want = `agentproxy v1.0.0, up 3 hours  ! 2 of 5 agents cannot sign
2.0 MB to clients, 1.5 kB from them; CA good for 10 years; the backend's clock is 200 s ahead

requests  ▁▆█▂  20 in 0 min, 12 at most in 10 s
failed    ▁▁█▁  2 in 0 min
answers   ▁▅█▇  after 31 ms, 40 ms at most

PROFILE  SIGNS           TASK              TOKEN         QUOTA
-        AgentAssertion  task-1            9 days        12% of 5 hours, 100% of 7 days  agent a of workspace w
ci       no: no_login    -                 -             -                               run codex login
old      Bearer          -                 expired       -
ended    no:             -                 log in again  -
late     AgentAssertion  task-2 (overdue)  -             -

1 request, 1 WebSocket, 4 tunnels
UNDER WAY  FOR    RECEIVED  SENT    CLIENT           REQUEST
request    90 s   0 B       1.2 kB  ?]0;title??evil  POST chatgpt.com/backend-api/codex/responses
tunnel     5 min  -         -       -                CONNECT github.com

LATEST  STATUS  TIME   CREDENTIAL  CLIENT  REQUEST
3 s     200     31 ms  assertion   run     GET chatgpt.com/backend-api/??2J
10 s    403     0 ms   -           -       CONNECT a.example (tunnel), host_refused
60 s    -       61 s   -           -       GET http://b.example/x (plain), cut: the client went away

OUT OF SCOPE  TIMES  AGO    CLIENT  BECAUSE OF  REQUEST
sent          2      60 min  run     path        GET https://chatgpt.com/backend-api/me

To allow them, add to the configuration:

scope:
  allow:
    # … what is there now
    - {host: chatgpt.com, methods: [GET], path: /backend-api/me}

REFUSED       TIMES  AGO   CLIENT  HOST           WHY
host_refused  3      60 s  -       a.example:443  list it in other_hosts
`
	var got strings.Builder
	if err := Print(&got, status(t), false); err != nil {
		t.Fatal(err)
	}
	if got.String() != strings.Replace(want, "AGO    CLIENT  BECAUSE", "AGO     CLIENT  BECAUSE", 1) {
		t.Errorf("got:\n%swant:\n%s", got.String(), want)
	}
}

// painted takes the styles out of what a terminal is sent.
var painted = strings.NewReplacer("\x1b[0m", "", "\x1b[1m", "", "\x1b[31m", "", "\x1b[32m", "", "\x1b[33m", "", "\x1b[90m", "")

func TestTopColours(t *testing.T) {
	t.Parallel()
	var got strings.Builder
	if err := Print(&got, status(t), true); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\x1b[33m! 2 of 5", "\x1b[32m200\x1b[0m", "\x1b[31m403\x1b[0m", "\x1b[31mlog in again\x1b[0m", "\x1b[90mLATEST\x1b[0m"} {
		if !strings.Contains(got.String(), want) {
			t.Errorf("no %q", want)
		}
	}
	if strings.ContainsFunc(painted.Replace(got.String()), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
		t.Errorf("%q", got.String())
	}
}

func TestEmptyStatus(t *testing.T) {
	t.Parallel()
	var got strings.Builder
	if err := Print(&got, admin.Status{}, false); err != nil || !strings.Contains(got.String(), "✗ cannot sign") {
		t.Errorf("%q, %v", got.String(), err)
	}
}

func TestLine(t *testing.T) {
	t.Parallel()
	l := line{{"1", "ab"}, {"", "日本"}, {"31", "e\u0301f"}}
	if got := l.width(); got != 8 {
		t.Errorf("%d columns", got)
	}
	for _, test := range []struct {
		from, to int
		want     string
	}{
		{0, 8, "ab日本e\u0301f"}, {0, 3, "ab"}, {0, 4, "ab日"}, {1, 6, "b日本"}, {3, 7, "本e\u0301"}, {8, 20, ""}, {5, 2, ""},
	} {
		if got := l.cut(test.from, test.to).paint(false); got != test.want {
			t.Errorf("from %d to %d: %q, want %q", test.from, test.to, got, test.want)
		}
	}
	if got := l.cut(1, 3).paint(true); got != "\x1b[1mb\x1b[0m" {
		t.Errorf("%q", got)
	}
}
