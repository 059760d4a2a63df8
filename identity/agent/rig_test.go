package agent_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/agent"
	"github.com/agentproxy/agentproxy/identity/backend"
	"github.com/agentproxy/agentproxy/identity/codex"
	"github.com/agentproxy/agentproxy/identity/store"
	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

const baseURL = "https://chatgpt.com/backend-api"

// signingKey is shared, since making one takes long.
var signingKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// rig is a stand-in backend, a Codex home and a state directory, with a clock
// that goes on only when the test turns it, however long anything takes.
type rig struct {
	t         testing.TB
	server    *chatgpttest.Server
	home      string
	state     string
	begin     time.Time
	ahead     atomic.Int64 // of begin, for all
	localOnly atomic.Int64 // of the server's, for the agents

	mu     sync.Mutex
	events []agent.Event
	errs   []error
	keys   []string // secrets that no request shows
}

func newRig(t testing.TB) *rig {
	r := &rig{t: t, home: t.TempDir(), state: filepath.Join(t.TempDir(), "state"), begin: time.Now()}
	r.serve(func() time.Time { return r.begin.Add(time.Duration(r.ahead.Load())) })
	return r
}

// newRunningRig returns a rig for other processes, whose clock is the machine's.
func newRunningRig(t testing.TB) *rig {
	r := &rig{t: t, home: t.TempDir(), state: filepath.Join(t.TempDir(), "state"), begin: time.Now()}
	r.serve(time.Now)
	return r
}

// serve starts the backend.
func (r *rig) serve(now func() time.Time) {
	server, err := chatgpttest.NewServerWith(chatgpttest.Config{SigningKey: signingKey(), Now: now})
	if err != nil {
		r.t.Fatal(err)
	}
	r.server = server
	r.t.Cleanup(func() {
		r.checkSecrets()
		server.Close()
	})
}

func (r *rig) now() time.Time {
	return r.begin.Add(time.Duration(r.ahead.Load() + r.localOnly.Load()))
}

func (r *rig) advance(d time.Duration) { r.ahead.Add(int64(d)) }

func (r *rig) path() string     { return filepath.Join(r.home, "auth.json") }
func (r *rig) identity() string { return filepath.Join(r.state, "identity.json") }

func (r *rig) write(raw []byte) {
	r.t.Helper()
	if err := os.WriteFile(r.path(), raw, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// login logs an account in and writes auth.json.
func (r *rig) login(a chatgpttest.Account) *chatgpttest.Login {
	r.t.Helper()
	l := r.server.Login(a)
	r.write(l.AuthJSON())
	return l
}

func (r *rig) notify(e agent.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// told counts the events whose message or error holds text.
func (r *rig) told(text string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if strings.Contains(e.Message, text) || e.Err != nil && strings.Contains(e.Err.Error(), text) {
			n++
		}
	}
	return n
}

// agent returns a new agent, as a process of its own would have it.
func (r *rig) agent(edit ...func(*agent.Config)) *agent.Agent {
	clock := backend.NewClock(r.now, nil)
	config := agent.Config{
		Home:     codex.OpenHome(r.home),
		StateDir: r.state,
		Store:    store.NewFile(r.identity()),
		Backend: backend.New(backend.Config{
			BaseURL: baseURL, Transport: r.server.Client().Transport, Clock: clock,
			ABOM: backend.NewABOM("1.0", runtime.GOOS),
			Wait: func(ctx context.Context, d time.Duration) error { r.advance(d); return ctx.Err() },
		}),
		Protocol: identity.ProtocolBackend,
		Register: true,
		Clock:    clock,
		Notify:   r.notify,
	}
	for _, e := range edit {
		e(&config)
	}
	a := agent.New(config)
	r.t.Cleanup(a.Close)
	return a
}

// session wants a session that the backend takes.
func (r *rig) session(a *agent.Agent, label string) identity.Session {
	r.t.Helper()
	s, err := a.Session(r.t.Context(), label)
	if err != nil {
		r.t.Fatalf("session %q: %v", label, err)
	}
	if s.Task.AgentRuntimeID != s.Identity.AgentRuntimeID || s.Task.ID == "" {
		r.t.Fatalf("session %q: task %+v of agent %q", label, s.Task, s.Identity.AgentRuntimeID)
	}
	return s
}

// fails wants an error that wraps target and holds text.
func (r *rig) fails(err, target error, text string) {
	r.t.Helper()
	if err == nil || target != nil && !errors.Is(err, target) || !strings.Contains(err.Error(), text) {
		r.t.Fatalf("error %v, want %v with %q", err, target, text)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs = append(r.errs, err)
}

// accepts reports the status of a request signed with a session.
func (r *rig) accepts(s identity.Session) int {
	r.t.Helper()
	assertion, err := s.Identity.Assert(s.Task, r.now().Add(s.ClockOffset))
	if err != nil {
		r.t.Fatal(err)
	}
	request := newRequest(r.t, "/wham/settings/user")
	request.Header.Set("Authorization", assertion.Header())
	if s.Identity.Protocol == identity.ProtocolAccounts {
		request.Header.Set("ChatGPT-Account-ID", s.Identity.Account.WorkspaceID)
	}
	if s.Identity.Account.FedRAMP {
		request.Header.Set("X-OpenAI-Fedramp", "true")
	}
	response, err := r.server.Client().Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

func (r *rig) stats(want chatgpttest.Stats) {
	r.t.Helper()
	got := r.server.Stats()
	got.Responses, got.WebSockets, got.Unauthorized, got.JWKS = 0, 0, 0, 0
	if got != want {
		r.t.Fatalf("the backend counted %+v, want %+v", got, want)
	}
}

// record returns what identity.json holds.
func (r *rig) record() *identity.Record {
	r.t.Helper()
	raw, err := os.ReadFile(r.identity())
	if err != nil {
		r.t.Fatal(err)
	}
	record, err := identity.ParseRecord(raw)
	if err != nil {
		r.t.Fatal(err)
	}
	return record
}

// aside returns the files that were set aside.
func (r *rig) aside() []string {
	r.t.Helper()
	files, err := filepath.Glob(r.identity() + ".2*")
	if err != nil {
		r.t.Fatal(err)
	}
	return files
}

// auth returns what auth.json holds.
func (r *rig) auth() (auth struct {
	Tokens       struct{ ID_token, Access_token, Refresh_token, Account_id string }
	Last_refresh time.Time
}) {
	r.t.Helper()
	raw, err := os.ReadFile(r.path())
	if err == nil {
		err = json.Unmarshal(raw, &auth)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return auth
}

// checkSecrets looks for everything secret that the backend saw and that lies in
// files in all events and errors.
func (r *rig) checkSecrets() {
	r.mu.Lock()
	defer r.mu.Unlock()
	secrets := append([]string(nil), r.keys...)
	for _, request := range r.server.Requests() {
		for _, name := range []string{"Authorization", "X-Openai-Authorization"} {
			for _, value := range request.Header.Values(name) {
				_, token, _ := strings.Cut(value, " ")
				secrets = append(secrets, value, token)
			}
		}
		var body struct{ Refresh_token, Signature string }
		if json.Unmarshal(request.Body, &body) == nil {
			secrets = append(secrets, body.Refresh_token, body.Signature)
		}
	}
	for _, dir := range []string{r.home, r.state} {
		files, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, file := range files {
			raw, _ := os.ReadFile(file)
			var holds struct {
				Agent_private_key, Access_token, Refresh_token, Id_token string
				Tokens                                                   map[string]json.RawMessage
			}
			_ = json.Unmarshal(raw, &holds)
			secrets = append(secrets, holds.Agent_private_key, holds.Access_token, holds.Refresh_token, holds.Id_token)
			for name, value := range holds.Tokens {
				var s string
				if json.Unmarshal(value, &s) == nil && strings.HasSuffix(name, "_token") {
					secrets = append(secrets, s)
				}
			}
		}
	}
	texts := []string{}
	for _, e := range r.events {
		texts = append(texts, e.Message)
		if e.Err != nil {
			texts = append(texts, e.Err.Error())
		}
	}
	for _, err := range r.errs {
		texts = append(texts, err.Error())
	}
	for _, text := range texts {
		if strings.ContainsAny(text, "\r\n") {
			r.t.Errorf("not one line: %q", text)
		}
		for _, secret := range secrets {
			if len(secret) > 8 && strings.Contains(text, secret) {
				r.t.Errorf("%q shows the secret %q", text, secret)
			}
		}
	}
}

// together calls f from n goroutines at once.
func together(n int, f func(i int)) {
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			<-start
			f(i)
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
}

// eventually waits until what is asked of others is so.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-ctx.Done():
			t.Fatalf("it does not come about that %s", what)
		case <-tick.C:
		}
	}
}

func newContext(t testing.TB) (context.Context, context.CancelFunc) {
	return context.WithCancel(t.Context())
}
