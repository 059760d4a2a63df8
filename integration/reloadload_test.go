//go:build linux

package integration

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

var reloadFor = flag.Duration("integration.reload", 5*time.Second, "how long TestReloadUnderLoad goes on at least")

// reloadLoad is how many requests TestReloadUnderLoad sends: at least 1000, and
// 100,000 in an hour.
func reloadLoad() int { return max(1000, int(reloadFor.Seconds()*100_000/3600)) }

// reloadVariants are lines that a configuration has besides the usual, one set in
// force after the other.
var reloadVariants = []string{
	"signer: {use: auto}",
	"signer: {use: bearer}",
	"signer: {use: auto, rules: [{path: /backend-api/test/echo, use: bearer}]}",
	"limits: {connections: 3000, connections_per_label: 300}",
	"other_ports: [443, 8000-8999]\nretry_body_limit: 0",
	"identity: {codex_home: CODEX_HOME, register: false}", // another account
	"log: {level: warn, format: json}",
	"upstream: {connect_to: CONNECT_TO, ca_file: CA_FILE, allow_private: [10.0.0.0/8]}", // other connections
	"audit: {file: AUDIT}",
}

// reloadMistakes are lines that are refused.
var reloadMistakes = []string{"signer: {use: nobody}", "other_hots: tunnel", "signer: [", "listen: 127.0.0.1:1", "audit: {file: /nowhere/audit}"}

// TestReloadUnderLoad changes the configuration every second under a stream that
// lasts as long as the test, and under clients that send their requests
// meanwhile. None of them notices.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{})
	f.adminOn(t)
	dir := filepath.Dir(f.config)
	tokens := filepath.Join(dir, "tokens")
	writeFile(t, tokens, []byte("agentproxy:sesame\n*:poppy\n"))
	usual := func(variant string) string {
		connectTo := fmt.Sprintf("{\"chatgpt.com:443\": %[1]q, \"auth.openai.com:443\": %[1]q}", f.backend.Addr())
		variant = strings.NewReplacer("CODEX_HOME", f.codexHome, "CONNECT_TO", connectTo, "CA_FILE", filepath.Join(dir, "upstream-ca.pem"), "AUDIT", filepath.Join(dir, "audit.log")).Replace(variant)
		var lines []string
		for key, line := range map[string]string{
			"listen": "127.0.0.1:0", "admin": f.admin, "state_dir": f.stateDir, "identity": fmt.Sprintf("{codex_home: %s}", f.codexHome),
			"upstream": fmt.Sprintf("{connect_to: %s, ca_file: %s}", connectTo, filepath.Join(dir, "upstream-ca.pem")),
			"clients":  fmt.Sprintf("{tokens_file: %s}", tokens), "log": "{level: info, format: json}", "scope": "{allow: [all]}",
		} {
			if !strings.Contains("\n"+variant, "\n"+key+":") {
				lines = append(lines, key+": "+line)
			}
		}
		return strings.Join(append(lines, variant, ""), "\n")
	}
	writeFile(t, f.config, []byte(usual("signer: {use: auto}")))
	p := f.serve(t)
	client := func(label string) *http.Client {
		c := p.client(t, label)
		transport := c.Transport.(*http.Transport)
		transport.ProxyConnectHeader = nil
		transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: p.addr, User: url.UserPassword(label, "poppy")})
		return c
	}
	warmUp := client("warm-up")
	mustAsk(t, warmUp, http.StatusOK)
	warmUp.CloseIdleConnections()
	before := p.holds(t)

	var clients sync.WaitGroup
	var events, answered, connected atomic.Int64
	var changed atomic.Bool // the clients have seen what they are to see
	end := time.Now().Add(*reloadFor + clientTimeout)
	const interval = 100 * time.Millisecond
	clients.Go(func() {
		n := int(*reloadFor / interval)
		c := client("stream")
		c.Timeout = 0
		if err := streamEvery(t.Context(), c, n, interval, &events); err != nil {
			t.Errorf("the stream, after %d of %d events: %v", events.Load(), n, err)
		}
	})
	const workers = 8
	for i := range workers {
		c := client(fmt.Sprint("client-", i))
		if i%2 == 0 { // HTTP/1.1
			c.Transport.(*http.Transport).ForceAttemptHTTP2 = false
			c.Transport.(*http.Transport).TLSClientConfig.NextProtos = []string{"http/1.1"}
		}
		clients.Go(func() {
			defer c.CloseIdleConnections()
			tick := time.NewTicker(*reloadFor * workers / time.Duration(reloadLoad()))
			defer tick.Stop()
			for j := 0; j < reloadLoad()/workers || !changed.Load() && time.Now().Before(end); j++ {
				<-tick.C
				if j%100 == i { // as a client that is started anew
					c.CloseIdleConnections()
					connected.Add(1)
				}
				if status, err := ask(c, []byte("hello")); err != nil || status != http.StatusOK {
					t.Errorf("client %d, request %d: status %d, %v", i, j, status, err)
					return
				}
				answered.Add(1)
			}
		})
	}
	done := make(chan struct{})
	go func() {
		clients.Wait()
		close(done)
	}()
	outcome := func() (taken, refused int, schemes map[string]int) {
		schemes = make(map[string]int)
		for _, r := range f.backend.Requests() {
			schemes[r.Auth.Scheme]++
		}
		return strings.Count(p.log.String(), reloaded), strings.Count(p.log.String(), notUsable), schemes
	}
	changes, mistakes := 0, 0
	tick := time.NewTicker(min(time.Second, *reloadFor/20))
	defer tick.Stop()
	for i, running := 0, true; running; i++ {
		select {
		case <-done:
			running = false
			continue
		case <-tick.C:
		}
		if !changed.Load() {
			taken, refused, schemes := outcome()
			changed.Store(taken > 0 && refused > 0 && schemes[string(chatgpttest.SchemeBearer)] > 0 && schemes[string(chatgpttest.SchemeAgentAssertion)] > 0)
		}
		lines := reloadVariants[i%len(reloadVariants)]
		if i%7 == 6 {
			lines = reloadMistakes[rand.N(len(reloadMistakes))]
			mistakes++
		} else {
			changes++
		}
		if i%3 == 0 { // a token that nobody uses comes and goes
			replaceFile(t, tokens, fmt.Sprintf("agentproxy:sesame\n*:poppy\nother-%d:x%d\n", i, i))
		}
		replaceFile(t, f.config, usual(lines))
		if i%2 == 0 { // else the change is seen
			p.hangUpOnce(t)
		}
		if i%600 == 599 {
			t.Logf("after %d changes: %d requests, %d events, held: %+v", i+1, answered.Load(), events.Load(), p.holds(t))
		}
	}

	taken, refused, schemes := outcome()
	t.Logf("%d requests, for which clients came back %d times, and a stream of %d events over %v; %d changes and %d mistakes were written, %d reloads and %d refusals logged",
		answered.Load(), connected.Load(), events.Load(), *reloadFor, changes, mistakes, taken, refused)
	if !changed.Load() {
		t.Error("want both reloads and refusals, and both signers")
	}
	if n := answered.Load(); int(n) < reloadLoad()/workers*workers {
		t.Errorf("%d requests were answered, want at least %d", n, reloadLoad())
	}
	t.Logf("of the last requests: %v", schemes)
	p.returnsTo(t, before, held{descriptors: 10, goroutines: 6, kilobytes: 40 << 10}, time.Minute)
}

// streamEvery reads a stream of n events that are an interval apart, and counts
// them.
func streamEvery(ctx context.Context, client *http.Client, n int, interval time.Duration, events *atomic.Int64) error {
	query := url.Values{"n": {fmt.Sprint(n)}, "interval_ms": {fmt.Sprint(interval.Milliseconds())}}
	return readEvents(ctx, client, query, n, func(i int) error {
		events.Store(int64(i))
		return nil
	})
}
