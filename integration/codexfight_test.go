//go:build linux

package integration

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// refreshesOf counts the refreshes by agentproxy and by Codex.
func refreshesOf(backend *chatgpttest.Server) (ours, theirs int) {
	for _, r := range backend.Requests() {
		switch {
		case r.Path != "/oauth/token":
		case strings.Contains(r.Header.Get("User-Agent"), "agentproxy/"):
			ours++
		default:
			theirs++
		}
	}
	return ours, theirs
}

// fightTime is how long Codex and the proxy are at a log-in together, at least:
// FIGHT, or no time at all.
func fightTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("FIGHT")
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestCodexAtTheSameLogin has the proxy and the real Codex at one log-in at the
// same time. Codex 0.171 sends a refresh token before it takes its locks, so that
// locks alone do not keep a token from being used twice: the proxy's time to
// refresh comes two minutes before Codex's.
func TestCodexAtTheSameLogin(t *testing.T) {
	t.Parallel()
	const lifetime = 40 * time.Minute
	f := newFixture(t, fixtureConfig{
		backend: chatgpttest.Config{Reply: codexReply, TokenLifetime: lifetime},
		yaml:    "signer: {use: bearer}",
	})
	f.backend.SetTokenAge(lifetime - 7*time.Minute - time.Second) // the proxy's time comes in a second
	f.login = f.backend.Login(chatgpttest.Account{})
	f.logIn(t, f.login)
	client := f.serve(t).client(t, "")
	environ := directly(t, f.backend, f.codexHome)

	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if status, err := ask(client, []byte("hello")); status != 200 {
				t.Errorf("through the proxy: status %d, %v", status, err)
			}
			select {
			case <-end:
				return
			case <-time.After(50 * time.Millisecond): // the record of requests has an end
			}
		}
	}()
	ours, theirs := 0, 0
	for start := time.Now(); ours < 2 || time.Since(start) < fightTime(t); ours, theirs = refreshesOf(f.backend) {
		if out := mustRun(t, environ, newestCodex(t), codexExec(codexQuiet...)...); !strings.Contains(out, codexReply) {
			t.Errorf("codex said %q", out)
		}
	}
	close(end)
	<-ended
	t.Logf("the proxy refreshed %d times, Codex %d times", ours, theirs)
	if stats := f.backend.Stats(); stats.ReusedRefreshTokens != 0 || stats.Unauthorized != 0 || theirs != 0 {
		t.Errorf("%d refresh tokens were used twice, %d requests were refused, Codex refreshed %d times; want none",
			stats.ReusedRefreshTokens, stats.Unauthorized, theirs)
	}
}

// TestCodexRefreshesToo has the access token refused, now to the one and now to the
// other. Who is refused refreshes, and the other takes what that has written.
func TestCodexRefreshesToo(t *testing.T) {
	t.Parallel()
	f := newLoginFixture(t, fixtureConfig{
		backend: chatgpttest.Config{Reply: codexReply},
		yaml:    "signer: {use: bearer}",
	})
	client := f.serve(t).client(t, "")
	environ := directly(t, f.backend, f.codexHome)
	codex := func() {
		if out := mustRun(t, environ, newestCodex(t), codexExec(codexQuiet...)...); !strings.Contains(out, codexReply) {
			t.Errorf("codex said %q", out)
		}
	}
	proxy := func() { mustAsk(t, client, 200) }
	rounds := 0
	for start := time.Now(); rounds < 2 || time.Since(start) < fightTime(t); rounds++ {
		f.backend.ForgetAccessTokens()
		codex()
		proxy()
		f.backend.ForgetAccessTokens()
		proxy()
		codex()
	}
	ours, theirs := refreshesOf(f.backend)
	t.Logf("the proxy refreshed %d times, Codex %d times", ours, theirs)
	if stats := f.backend.Stats(); ours != rounds || theirs != rounds || stats.ReusedRefreshTokens != 0 {
		t.Errorf("the proxy refreshed %d times, Codex %d times, and %d refresh tokens were used twice; want %d, %d and none",
			ours, theirs, stats.ReusedRefreshTokens, rounds, rounds)
	}
}
