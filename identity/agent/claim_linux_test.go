package agent_test

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity/agent"
	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// TestReadersWait has whoever opens auth.json while its token is being replaced read
// the next one, as Codex does before it would use the same token.
func TestReadersWait(t *testing.T) {
	t.Run("replaced", func(t *testing.T) { readersWait(t, func(*agent.Config) {}) })
	t.Run("in place", func(t *testing.T) { readersWait(t, func(c *agent.Config) { c.Home.InPlace() }) })
}

func readersWait(t *testing.T, edit func(*agent.Config)) {
	r := newRig(t)
	r.server.SetTokenLifetime(time.Hour)
	l := r.login(chatgpttest.Account{})
	a := r.agent(func(c *agent.Config) { c.Courtesy = time.Millisecond }, edit)
	r.token(a)
	for range 5 {
		r.advance(2 * time.Hour)
		r.readWhileRefreshed(t, l, func() {
			// Its own reading does not wait for itself.
			together(20, func(int) {
				if token, err := a.AccessToken(t.Context()); err != nil || token.Value.Reveal() != l.Current().AccessToken {
					t.Errorf("another token, %v", err)
				}
			})
		})
	}
	r.refreshes(5)
}

// TestReadersWaitForMounts is the same where the file cannot be replaced, as one that is
// mounted by itself.
func TestReadersWaitForMounts(t *testing.T) {
	r := newRig(t)
	l := r.readOnlyLogin(t, 0o600)
	r.readWhileRefreshed(t, l, func() {
		if got := r.tokenOfNobody(t, time.Millisecond); got != l.Current().AccessToken {
			t.Errorf("another token: %q", got)
		}
	})
	r.refreshes(1)
}

// readWhileRefreshed has auth.json opened by many while refresh has its token replaced.
// All are to read the next one.
func (r *rig) readWhileRefreshed(t *testing.T, l *chatgpttest.Login, refresh func()) {
	t.Helper()
	before := l.Current().RefreshToken
	const readers = 4
	opening, read := make(chan bool, readers), make(chan string, readers)
	stop := r.server.Inject(chatgpttest.Fault{Path: "/oauth/token", Match: func(*http.Request) bool {
		for range readers {
			go func() {
				opening <- true
				raw, err := os.ReadFile(r.path())
				if err != nil {
					t.Error(err)
				}
				read <- string(raw)
			}()
		}
		for range readers {
			<-opening
		}
		return false
	}})
	refresh()
	stop()
	for range readers {
		if raw := <-read; strings.Contains(raw, before) || !strings.Contains(raw, l.Current().RefreshToken) {
			t.Errorf("a reader got\n%s", raw)
		}
	}
	if raw, err := os.ReadFile(r.path()); err != nil || !strings.Contains(string(raw), l.Current().RefreshToken) {
		t.Errorf("auth.json: %v\n%s", err, raw)
	}
}
