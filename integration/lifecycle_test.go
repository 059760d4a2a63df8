//go:build linux

package integration

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// client returns an HTTP client behind the proxy. A label makes it a session of
// its own.
func (p *proxy) client(t *testing.T, label string) *http.Client {
	t.Helper()
	via := *p.url(t)
	if label != "" {
		via.User = nil
	}
	transport := &http.Transport{
		Proxy:               http.ProxyURL(&via),
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: p.roots(t)},
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 100,
	}
	if label != "" {
		transport.ProxyConnectHeader = http.Header{"Proxy-Authorization": {basic(label)}}
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

func basic(label string) string {
	r := &http.Request{Header: http.Header{}}
	r.SetBasicAuth(label, "")
	return r.Header.Get("Authorization")
}

// ask sends a request with a body through client and returns the status.
func ask(client *http.Client, body []byte) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://chatgpt.com/backend-api/test/upload", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

func mustAsk(t *testing.T, client *http.Client, want int) {
	t.Helper()
	if status, err := ask(client, []byte("hello")); err != nil || status != want {
		t.Fatalf("status %d, %v; want %d", status, err, want)
	}
}

// newLoginFixture is a fixture whose user has just logged in with Codex, and has
// no agent identity.
func newLoginFixture(t *testing.T, c fixtureConfig) *fixture {
	t.Helper()
	f := newFixture(t, c)
	f.logIn(t, f.login)
	return f
}

func (f *fixture) logIn(t *testing.T, login *chatgpttest.Login) {
	t.Helper()
	writeFile(t, filepath.Join(f.codexHome, "auth.json"), login.AuthJSON())
}

// TestIdentityLooksAfterItself: a log-in is all it takes; a restart registers
// nothing; another user, or a record that is broken, leads to a new identity and
// the former is kept.
func TestIdentityLooksAfterItself(t *testing.T) {
	t.Parallel()
	f := newLoginFixture(t, fixtureConfig{identity: firstGeneration})
	aside := func() []string {
		kept, err := filepath.Glob(filepath.Join(f.stateDir, "identity.json.*"))
		if err != nil {
			t.Fatal(err)
		}
		return kept
	}
	step := func(name string, agents, setAside int) {
		t.Run(name, func(t *testing.T) {
			p := f.serve(t)
			mustAsk(t, p.client(t, ""), http.StatusOK)
			requests := f.backend.Requests()
			last := requests[len(requests)-1]
			if last.Auth.Scheme != chatgpttest.SchemeAgentAssertion || !last.Auth.OK {
				t.Errorf("verified as %+v, want an assertion", last.Auth)
			}
			stats := f.backend.Stats()
			if stats.AgentRegistrations != agents || stats.TaskRegistrations != agents {
				t.Errorf("%d agents and %d tasks were registered, want %d each", stats.AgentRegistrations, stats.TaskRegistrations, agents)
			}
			if kept := aside(); len(kept) != setAside {
				t.Errorf("kept aside: %q, want %d", kept, setAside)
			}
			f.checkPrivate(t)
		})
	}
	step("first start", 1, 0)
	step("restart", 1, 0)

	f.logIn(t, f.backend.Login(chatgpttest.Account{UserID: "user-456", Email: "other@example.com"}))
	step("another user", 2, 1)
	step("restart as another user", 2, 1)

	identity := filepath.Join(f.stateDir, "identity.json")
	writeFile(t, identity, []byte(readFile(t, identity)[:100]))
	step("broken record", 3, 2)
}

// checkPrivate fails the test if anybody else may read what the proxy keeps.
func (f *fixture) checkPrivate(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(f.stateDir, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		public := strings.HasSuffix(path, ".pem") && !strings.Contains(path, "key")
		if info.Mode().Perm()&0o077 != 0 && !public {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestIdentityWithLogInLater: a proxy that was started too early needs no restart.
func TestIdentityWithLogInLater(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{})
	if err := os.RemoveAll(f.codexHome); err != nil {
		t.Fatal(err)
	}
	p := f.serve(t)
	mustAsk(t, p.client(t, ""), http.StatusServiceUnavailable)
	if n := len(f.backend.Requests()); n != 0 {
		t.Fatalf("%d requests reached the backend before anybody was logged in", n)
	}
	if err := os.Mkdir(f.codexHome, 0o700); err != nil {
		t.Fatal(err)
	}
	f.logIn(t, f.login)
	eventually(t, "the registration", func() bool { return f.backend.Stats().TaskRegistrations == 1 })
	mustAsk(t, p.client(t, ""), http.StatusOK)
}

// TestColdStart has 500 requests at once wait for one registration, and 50
// sessions get a task each.
func TestColdStart(t *testing.T) {
	t.Parallel()
	f := newLoginFixture(t, fixtureConfig{identity: firstGeneration})
	p := f.serve(t)
	atOnce(t, 500, func(int) *http.Client { return p.client(t, "") })
	if got := f.backend.Stats(); got.Biscuits != 2 || got.AgentRegistrations != 1 || got.TaskRegistrations != 1 {
		t.Errorf("%+v; want 2 biscuits (for the agent and for the task), 1 agent, 1 task", got)
	}
	atOnce(t, 200, func(i int) *http.Client { return p.client(t, fmt.Sprintf("session-%d", i%50)) })
	if got := f.backend.Stats(); got.AgentRegistrations != 1 || got.TaskRegistrations != 51 {
		t.Errorf("%+v; want 1 agent and 51 tasks", got)
	}
}

// atOnce sends n requests at the same time, each of which must succeed.
func atOnce(t *testing.T, n int, client func(i int) *http.Client) {
	t.Helper()
	var group sync.WaitGroup
	for i := range n {
		c := client(i)
		group.Go(func() {
			if status, err := ask(c, []byte("hello")); err != nil || status != http.StatusOK {
				t.Errorf("request %d: status %d, %v", i, status, err)
			}
		})
	}
	group.Wait()
}

// TestRecovery has the backend forget all tasks, and then all access tokens,
// while 50 clients are at work: none of them notices.
func TestRecovery(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		use       string
		forget    func(*chatgpttest.Server)
		recovered func(chatgpttest.Stats) int
	}{
		{"agent-assertion", (*chatgpttest.Server).ForgetTasks, func(s chatgpttest.Stats) int { return s.TaskRegistrations }},
		{"bearer", (*chatgpttest.Server).ForgetAccessTokens, func(s chatgpttest.Stats) int { return s.Refreshes }},
	} {
		t.Run(test.use, func(t *testing.T) {
			t.Parallel()
			f := newLoginFixture(t, fixtureConfig{identity: firstGeneration, yaml: "signer: {use: " + test.use + "}"})
			p := f.serve(t)
			mustAsk(t, p.client(t, ""), http.StatusOK)
			before := test.recovered(f.backend.Stats())

			ctx, stop := context.WithCancel(t.Context())
			var group sync.WaitGroup
			for range 50 {
				client := p.client(t, "")
				group.Go(func() {
					for ctx.Err() == nil {
						if status, err := ask(client, []byte("hello")); err != nil || status != http.StatusOK {
							t.Errorf("status %d, %v", status, err)
							return
						}
					}
				})
			}
			answered := func() int { return f.backend.Count("/backend-api/test/upload") }
			eventually(t, "the clients to be at work", func() bool { return answered() > 200 })
			test.forget(f.backend)
			then := answered()
			eventually(t, "the clients to go on", func() bool { return answered() > then+400 })
			stop()
			group.Wait()
			if n := test.recovered(f.backend.Stats()) - before; n != 1 {
				t.Errorf("recovered %d times, want once", n)
			}

			// A body that is too large to be kept cannot be sent again: the
			// client is told, and its next request succeeds. The recovery is
			// not repeated for some seconds, however many ask for it.
			test.forget(f.backend)
			client := p.client(t, "")
			if status, err := ask(client, make([]byte, 10<<20)); err != nil || status != http.StatusUnauthorized {
				t.Errorf("10 MiB: status %d, %v; want 401", status, err)
			}
			eventually(t, "the next request to succeed", func() bool {
				status, err := ask(client, []byte("hello"))
				return err == nil && status == http.StatusOK
			})
		})
	}
}

// TestClockAhead has this machine's clock be nine minutes ahead of the backend's.
func TestClockAhead(t *testing.T) {
	t.Parallel()
	f := newLoginFixture(t, fixtureConfig{identity: firstGeneration})
	f.backend.SetClockOffset(-9 * time.Minute)
	f.login = f.backend.Login(chatgpttest.Account{})
	f.login.AuthJSONWithIdentity("C")
	f.logIn(t, f.login)
	p := f.serve(t)
	client := p.client(t, "")
	for range 3 {
		mustAsk(t, client, http.StatusOK)
	}
}
