//go:build linux

package integration

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// fightRounds is how many turns Codex takes in TestRefreshFight.
// AGENTPROXY_FIGHT_ROUNDS asks for more: 18 take about two minutes.
func fightRounds(t *testing.T) int {
	t.Helper()
	text, ok := os.LookupEnv("AGENTPROXY_FIGHT_ROUNDS")
	if !ok {
		return 4
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// codexMargin is how long before its expiry Codex refreshes a token, and codexBreath
// how long it leaves a new one alone here. One that it would have to refresh at once it
// refreshes for ever.
const (
	codexMargin = 5 * time.Minute
	codexBreath = 5 * time.Second
	// fightStep is how much later Codex comes than the round before: agentproxy gives
	// it a second, which ends in between.
	fightStep = 700 * time.Millisecond
	// codexTime is how long Codex may take from reading auth.json to writing it, which is what
	// agentproxy gives it.
	codexTime = time.Second
)

// refreshesBy counts the refreshes that agentproxy and Codex have asked for.
func refreshesBy(backend *chatgpttest.Server) (agentproxy, codex int) {
	for _, r := range backend.Requests() {
		switch {
		case r.Path != "/oauth/token":
		case strings.Contains(r.Header.Get("User-Agent"), "agentproxy/"):
			agentproxy++
		default:
			codex++
		}
	}
	return agentproxy, codex
}

// codexTook returns how long a Codex took to refresh its log-in that was started at begun: at
// most until its first request after that. It is 0 if it has not.
func codexTook(backend *chatgpttest.Server, begun time.Time) (took time.Duration) {
	for _, r := range backend.Requests() {
		agent := r.Header.Get("User-Agent")
		switch {
		case r.Time.Before(begun):
		case r.Path == "/oauth/token" && !strings.Contains(agent, "agentproxy/"):
			took = r.Time.Sub(begun)
		case took > 0 && strings.Contains(agent, "codex"):
			return r.Time.Sub(begun)
		}
	}
	return took
}

// TestRefreshFight has agentproxy and a Codex that knows nothing of it refresh one
// log-in at the same moments: whenever the backend forgets the tokens, and whenever
// Codex is started. No refresh token is used twice, unless the machine has Codex take longer
// than it is given, and both are served all the time.
func TestRefreshFight(t *testing.T) {
	t.Parallel()
	f := newLoginFixture(t, fixtureConfig{
		backend: chatgpttest.Config{Reply: codexReply, TokenLifetime: codexMargin + codexBreath},
		yaml:    "signer: {use: bearer}",
	})
	p := f.serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	served := 0
	clients.Go(func() {
		client := p.client(t, "")
		for ctx.Err() == nil {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://chatgpt.com/backend-api/wham/settings/user", nil)
			if err != nil {
				t.Error(err)
				return
			}
			response, err := client.Do(request)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			response.Body.Close()
			if response.StatusCode != http.StatusOK {
				t.Errorf("behind agentproxy: %s", response.Status)
			}
			served++
			time.Sleep(50 * time.Millisecond)
		}
	})
	newest := npmProgram(t, "codex-0.171/vendor/x86_64-unknown-linux-musl/bin/codex")
	environ := directly(t, f.backend, f.codexHome)
	// A machine may have Codex take longer than agentproxy gives it. What is used twice is
	// excused then, from that Codex's start to the next one's.
	reused := func() int { return f.backend.Stats().ReusedRefreshTokens }
	var took, slowest time.Duration
	before, excused, slow := 0, 0, 0
	judge := func() {
		if took >= codexTime {
			excused += reused() - before
			slow++
		}
	}
	for i := range fightRounds(t) {
		time.Sleep(codexBreath) // until Codex wants another
		if i%4 != 3 {
			f.backend.ForgetAccessTokens() // and agentproxy does
			time.Sleep(time.Duration(i%4) * fightStep)
		}
		if i%4 == 2 { // and is left alone
			eventually(t, "agentproxy refreshes", func() bool { byUs, _ := refreshesBy(f.backend); return byUs > 0 })
		}
		judge()
		before = reused()
		begun := time.Now()
		out := mustRun(t, environ, newest, codexExec(codexQuiet...)...)
		if !strings.Contains(out, codexReply) {
			t.Errorf("codex said %q", out)
		}
		took = codexTook(f.backend, begun)
		slowest = max(slowest, took)
	}
	cancel()
	clients.Wait()
	judge()
	byUs, byCodex := refreshesBy(f.backend)
	t.Logf("%d requests; %d refreshes by agentproxy, %d by Codex, which took up to %s, and %d times too long", served, byUs, byCodex, slowest.Round(time.Millisecond), slow)
	if n := reused() - excused; n != 0 {
		t.Errorf("%d refresh tokens were used twice", n)
	}
	if byUs == 0 || byCodex == 0 {
		t.Error("there was no fight")
	}
	for _, lock := range []string{"auth.lock", "auth.json.lock"} {
		if _, err := os.Stat(filepath.Join(f.codexHome, lock)); err != nil {
			t.Error(err)
		}
	}
}
