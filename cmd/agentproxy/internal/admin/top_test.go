package admin

import (
	"strings"
	"testing"
	"time"
)

func TestTopText(t *testing.T) {
	t.Parallel()
	s := goodStatus()
	past := statusTime.Add(-time.Second)
	s.Agents = append(s.Agents, agentStatus{Profile: "ci", Code: "no_login", Message: "run codex login"},
		agentStatus{Profile: "old", Ready: true, Scheme: "Bearer", TokenExpires: &past}, agentStatus{Profile: "ended", LoginEnded: "run codex login"},
		agentStatus{Profile: "late", Ready: true, Scheme: "AgentAssertion", Task: "task-2", TaskOverdue: "the backend answered 500"})
	s.Agents[0].Quota = &quota{Primary: &quotaWindow{UsedPercent: 12, Minutes: 300}, Secondary: &quotaWindow{UsedPercent: 100, Minutes: 7 * 24 * 60}}
	s.ClockOffset = 200
	s.Live[0].Client = "\x1b]0;title\a\u202eevil"
	want := `agentproxy v1.0.0, up 3 hours
2.0 MB to clients, 1.5 kB from them; CA good for 10 years; the backend's clock is 200 s ahead

PROFILE  SIGNS           TASK              TOKEN         QUOTA
-        AgentAssertion  task-1            9 days        12% of 5 hours, 100% of 7 days  agent a of workspace w
ci       no: no_login    -                 -             -                               run codex login
old      Bearer          -                 expired       -
ended    no:             -                 log in again  -
late     AgentAssertion  task-2 (overdue)  -             -

1 request, 1 WebSocket, 4 tunnels
KIND     CLIENT           HOST             FOR    RECEIVED  SENT
request  ?]0;title??evil  chatgpt.com:443  90 s   0 B       1.2 kB
tunnel   -                github.com:443   5 min  -         -

REFUSED       TIMES  AGO   CLIENT  HOST           WHY
host_refused  3      60 s  -       a.example:443  list it in other_hosts
`
	var got strings.Builder
	for line := range strings.Lines(s.Text().String()) {
		got.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	if got.String() != want {
		t.Errorf("got:\n%swant:\n%s", got.String(), want)
	}
}

func TestFitted(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text          string
		width, height int
		want          string
	}{
		{"one\ntwo\n", 10, 10, "one|two|"},
		{"one\ntwo\nthree\n", 10, 2, "one|two|"},
		{"größer\n", 3, 1, "grö|"},
		{"one\n", 0, 0, "|"},
	} {
		got := strings.NewReplacer(clearLine, "|", "\n", "").Replace(fitted(test.text, test.width, test.height))
		if got != test.want {
			t.Errorf("%q on %d × %d: %q, want %q", test.text, test.width, test.height, got, test.want)
		}
	}
}
